import torch

from ranvier.recipes import YinYangInTheLoop, override


def test_copies_of_an_input_encode_times_within_a_step():
    recipe, generator = YinYangInTheLoop(), torch.Generator()
    step = recipe.dt / (recipe.late - recipe.early)
    spikes = recipe.encode(torch.tensor([[0.5, 0.5 + step / 4, 0.5 + step / 2, 0.5 + step]]), generator)[:, 0]
    assert spikes.shape == (recipe.steps, 25) and bool((spikes.sum(0) == 1).all())
    times = spikes.argmax(0).view(5, 5)  # [copies, inputs]
    means = times.double().mean(0)
    torch.testing.assert_close(means[:4] - means[0], torch.tensor([0.0, 0.2, 0.4, 1.0]).double(), atol=0.11, rtol=0)
    assert bool((times.amax(0) - times.amin(0) <= 1).all()) and bool((times[:, 4] == times[0, 4]).all())


def test_the_range_of_readout_weights_is_a_setting():
    nets = {scale: override(YinYangInTheLoop(), {"chip.readout": scale}).build() for scale in (20.0, 50.0)}
    assert {scale: net.calibrations[1].weight_scale for scale, net in nets.items()} == {20.0: 20.0, 50.0: 50.0}
    weak, strong = (net.calibrations[1].trace_scale for net in nets.values())
    assert 2.4 < weak / strong < 2.6  # the levels of the converter are larger by as much

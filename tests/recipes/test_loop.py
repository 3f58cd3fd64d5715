import torch

from ranvier.recipes import YinYangInTheLoop


def test_copies_of_an_input_encode_times_within_a_step():
    recipe, generator = YinYangInTheLoop(), torch.Generator()
    step = recipe.dt / (recipe.late - recipe.early)
    spikes = recipe.encode(torch.tensor([[0.5, 0.5 + step / 4, 0.5 + step / 2, 0.5 + step]]), generator)[:, 0]
    assert spikes.shape == (recipe.steps, 25) and bool((spikes.sum(0) == 1).all())
    times = spikes.argmax(0).view(5, 5)  # [copies, inputs]
    means = times.double().mean(0)
    torch.testing.assert_close(means[:4] - means[0], torch.tensor([0.0, 0.2, 0.4, 1.0]).double(), atol=0.11, rtol=0)
    assert bool((times.amax(0) - times.amin(0) <= 1).all()) and bool((times[:, 4] == times[0, 4]).all())

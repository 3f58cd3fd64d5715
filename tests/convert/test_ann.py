"""A converted network does what the trained one did."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ranvier
from ranvier.convert import QCFS, MaxOfRates, RateIF, convert, quantised, report


class Residual(nn.Module):
    """Batch norm, a rectifier used twice, a functional one, a skip, a max pool, a shape read off x."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.na, self.nb, self.relu = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU()
        self.out, self.scale = nn.Linear(36, 5), nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        size = x.size(0)
        x = self.relu(self.na(self.a(x)))
        y = self.relu(self.nb(self.b(x)) + x)
        y = F.max_pool2d(F.relu(y * self.scale), 2)
        return self.out(y.view(size, -1))


def residual(seed=0):
    torch.manual_seed(seed)
    model = Residual()
    for _ in range(3):
        model(torch.rand(32, 1, 6, 6))  # running statistics
    return model.eval()


@pytest.fixture
def pictures():
    return torch.rand(64, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def shown(x, steps):
    return x.expand(steps, *x.shape)


@pytest.mark.parametrize("balance", ("max", "percentile"))
@pytest.mark.parametrize("per_channel", (True, False))
def test_the_mean_over_time_tends_to_the_trained_output(pictures, balance, per_channel):
    model = residual()
    spiking = convert(model, pictures, balance=balance, per_channel=per_channel, percentile=100)
    assert not spiking.left and len(spiking.neurons()) == 3
    wanted = model(pictures)
    errors = [(spiking(shown(pictures, t)).mean(0) - wanted).abs().mean().item() for t in (8, 64, 512)]
    assert errors[2] < 0.01 * wanted.std() and errors[2] < errors[1] < errors[0]


def test_constant_pictures_and_sequences_give_the_same(pictures):
    spiking = convert(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)), pictures)
    assert spiking.once
    x = shown(pictures, 5)
    torch.testing.assert_close(spiking(x), spiking(x.clone()))


def test_the_layers_before_the_first_neuron_run_once(pictures):
    spiking = convert(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3)), pictures)
    seen = {}
    for name, m in spiking.named_modules():
        if isinstance(m, nn.Conv2d):
            m.register_forward_hook(lambda m, i, y, name=name: seen.__setitem__(name, len(y)))
    spiking(shown(pictures, 5))
    assert list(seen.values()) == [64, 5 * 64]


def test_chunks_join_and_steps_stream(pictures):
    spiking, x = convert(residual(), pictures), shown(pictures, 7)
    whole = spiking(x)
    first, state = ranvier.scan(spiking, x[:3])
    second, _ = ranvier.scan(spiking, x[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    stream = ranvier.Stream(spiking)
    torch.testing.assert_close(torch.stack([stream(pictures) for _ in range(7)]), whole)


def test_batch_norm_is_folded_and_the_model_untouched(pictures):
    model = residual()
    before = copy.deepcopy(model.state_dict())
    spiking = convert(model, pictures)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in spiking.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_layers_that_are_quick_on_spikes_are_followed(pictures):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    quick = nn.Sequential(ranvier.Conv2d(1, 4, 3), *plain[1:4], ranvier.Linear(64, 5))
    quick.load_state_dict(plain.state_dict())
    x = shown(pictures, 4)
    assert torch.equal(convert(quick.eval(), pictures)(x), convert(plain.eval(), pictures)(x))


def test_a_norm_that_cannot_be_folded_stays_and_is_right(pictures):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 4))
    model(pictures)
    spiking = convert(model.eval(), pictures, percentile=100)
    assert not spiking.left
    torch.testing.assert_close(spiking(shown(pictures, 512)).mean(0), model(pictures), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    "module, reason",
    (
        (nn.GELU(), "negative"),
        (nn.Tanh(), "saturates"),
        (nn.Softmax(-1), "mean over time"),
        (nn.LayerNorm(8), "spread"),
        (nn.BatchNorm1d(8, track_running_stats=False), "running statistics"),
        (nn.Threshold(0.5, 0.0), "not known"),
    ),
)
def test_what_cannot_be_converted_is_named(module, reason):
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), module, nn.Linear(8, 2))
    (why,) = convert(model, torch.rand(20, 3)).left.values()
    assert reason in why


def test_products_of_rates_are_named():
    class Gate(nn.Module):
        def forward(self, x):
            return torch.relu(x) * torch.relu(-x) * 2

    assert list(convert(Gate(), torch.randn(20, 3)).left) == ["mul"]


def test_rectifiers_that_level_off_keep_their_ceiling():
    x = 10 * torch.rand(50, 4)
    for rectify in (nn.ReLU6(), nn.Hardtanh(0, 6), lambda v: v.clamp(0, 6)):

        class Model(nn.Module):
            def __init__(self, f=rectify):
                super().__init__()
                self.f = f

            def forward(self, v):
                return self.f(v)

        spiking = convert(Model(), x)
        assert all(bool((n.threshold <= 6).all()) for n in spiking.neurons().values()) and len(spiking.neurons()) == 1
        torch.testing.assert_close(spiking(shown(x, 600)).mean(0), x.clamp(max=6), atol=0.02, rtol=0)


def test_quantised_networks_are_exact_after_as_many_steps():
    torch.manual_seed(0)
    x = torch.rand(50, 4)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    fewer = quantised(model, x, levels=4)
    fewer(x).sum().backward()
    thresholds = [p for n, p in fewer.named_parameters() if n.endswith("threshold")]
    assert thresholds[0].grad is not None
    spiking = convert(fewer, x)
    assert [n.threshold.item() for n in spiking.neurons().values()] == [thresholds[0].item()]
    torch.testing.assert_close(spiking(shown(x, 4)).mean(0), fewer(x))


@pytest.mark.parametrize("default, own", [(torch.float64, torch.float32), (torch.float32, torch.float64)])
def test_a_network_keeps_its_dtype_whatever_the_default_is(default, own):
    model, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU6(), nn.Linear(8, 2)).to(own), torch.rand(64, 3, dtype=own)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        stairs = quantised(model, x, levels=4)
        answers = stairs(x), convert(model, x)(x.expand(4, 64, 3)), convert(stairs, x)(x.expand(4, 64, 3))
    finally:
        torch.set_default_dtype(before)
    assert all(y.dtype == own for y in answers) and all(p.dtype == own for p in stairs.parameters())


def test_a_parameter_of_whole_numbers_does_not_round_the_thresholds():
    model = nn.Sequential(nn.Linear(3, 8), QCFS(2.5, 4), nn.Linear(8, 2))
    model.register_parameter("count", nn.Parameter(torch.tensor([3]), requires_grad=False))
    (neuron,) = convert(model, torch.rand(64, 3)).neurons().values()
    assert neuron.threshold == 2.5


def test_max_of_rates_is_the_maximum_of_the_means():
    z = (torch.rand(40, 2, 3, 8, 8) < 0.5 * torch.rand(2, 3, 8, 8)).float()
    for pool in (nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AdaptiveMaxPool2d(1)):
        y = MaxOfRates(pool)(z)
        assert set(y.unique().tolist()) <= {0.0, 1.0}  # spikes stay spikes
        torch.testing.assert_close(y.mean(0), pool(z.mean(0)))
        assert (pool(z.flatten(0, 1)).unflatten(0, z.shape[:2]).mean(0) > pool(z.mean(0))).any()  # what is not sound


def test_rate_if_rounds_and_machines_agree():
    x = torch.rand(3, 5) * 2 - 0.5
    neuron = RateIF(torch.tensor([0.5, 1.0, 1.5, 2.0, 3.0]))
    z = neuron(shown(x, 16))
    with ranvier.backend("reference"):
        assert torch.equal(z, neuron(shown(x, 16)))
    level = neuron.threshold
    wanted = (x / level).clamp(0, 1).mul(16).add(0.5).floor() / 16 * level
    assert (z.mean(0) - wanted).abs().max() < 1e-5


def test_report(pictures):
    model = residual()
    spiking = convert(model, pictures)
    labels = model(pictures).argmax(1)
    found = report(spiking, model, pictures, labels, steps=(4, 256), batch=20)
    assert found.trained == 1.0 and found.accuracy[256] > 0.93 and set(found.accuracy) == {4, 256}
    assert [k.name for k in found.layers] == ["relu", "relu_1", "relu_2"]
    for layer in found.layers:
        assert 0 <= layer.rate_error < 0.05 and 0 <= layer.dead < 0.5 and 0 <= layer.saturated < 0.1 < layer.spikes
    assert "256 steps" in str(found) and "rate error" in str(found)


def test_dead_channels_stay_silent():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    nn.init.constant_(model[0].bias, -9.0)
    assert convert(model, torch.rand(20, 3))(torch.rand(5, 6, 3)).abs().sum() == 0


def test_gradients_reach_the_weights(pictures):
    spiking = convert(residual(), pictures)
    spiking(shown(pictures, 4)).mean(0).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for n, p in spiking.named_parameters())


def test_weights_can_be_saved_and_read_again(pictures):
    spiking, other = convert(residual(0), pictures), convert(residual(1), pictures)
    other.load_state_dict(spiking.state_dict())
    x = shown(pictures, 4)
    assert torch.equal(other(x), spiking(x))
    assert torch.equal(pickle.loads(pickle.dumps(spiking))(x), spiking(x))


def test_errors_name_the_next_step(pictures):
    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(ValueError, match=r"torch\.fx cannot follow"):
        convert(Branches(), pictures)
    with pytest.raises(ValueError, match="one input"):
        convert(Two(), pictures)
    with pytest.raises(ValueError, match="balance"):
        convert(nn.ReLU(), pictures, balance="mean")
    with pytest.raises(ValueError, match="percentile"):
        convert(nn.ReLU(), pictures, percentile=0)
    with pytest.raises(ValueError, match="data is empty"):
        convert(nn.ReLU(), [])
    with pytest.raises(ValueError, match="not finite"):
        convert(nn.ReLU(), torch.full((4, 3), torch.nan))


def test_a_net_without_a_rectifier_says_why():
    x = torch.rand(20, 3)
    for function in (nn.GELU(), nn.Tanh(), nn.LeakyReLU(), nn.ELU()):
        alone = convert(nn.Sequential(nn.Linear(3, 8), function, nn.Linear(8, 2)), x)
        assert not alone.neurons() and len(alone.left) == 1
        before = convert(nn.Sequential(nn.Linear(3, 8), function, nn.Linear(8, 8), nn.ReLU()), x)
        assert len(before.neurons()) == 1 and len(before.left) == 1


def test_wrapped_models_and_other_outputs_are_told():
    class Both(nn.Module):
        def forward(self, x):
            return x.relu(), x

    model, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU()), torch.rand(20, 3)
    with pytest.raises(ValueError, match=r"`model\.module`"):
        convert(nn.DataParallel(model), x)
    with pytest.raises(ValueError, match=r"`model\._orig_mod`"):
        convert(torch.compile(model, backend="eager"), x)
    with pytest.raises(ValueError, match="returns a tuple"):
        convert(Both(), x)
    with pytest.raises(TypeError, match="got NoneType"):
        convert(model, None)


def test_data_may_be_a_sequence_that_is_only_indexed():
    class Batches:
        def __getitem__(self, k):
            return [torch.ones(4, 3), 2 * torch.ones(4, 3)][k]

    net = convert(nn.Sequential(nn.Linear(3, 8), nn.ReLU()), Batches())
    assert len(net.neurons()) == 1

"""Learned parameters stay where their neurons allow them, and go on learning at the edge."""

import pytest
import torch
from torch.utils._pytree import tree_flatten

import ranvier as rv
from everything import BUILT, NEURONS, drive
from ranvier.convert import QCFS
from ranvier.nn.declared import Declared

LEARNERS = {c.__name__: lambda c=c: c(learn=c().learnable) for c in NEURONS if c().learnable}
LEARNERS |= {name: example.build for name, example in BUILT.items() if list(example.build().parameters())}
LEARNERS |= {
    f"{layer.__name__} {kernel}": lambda layer=layer, sizes=sizes, kernel=kernel: layer(*sizes, kernel=kernel)
    for layer, sizes in ((rv.LearnedDelay, (3, 4)), (rv.DelayedLinear, (3, 3, 4)))
    for kernel in ("interpolated", "gaussian")
}
LEARNERS |= {"AssociativeResonate": lambda: rv.AssociativeResonate(learn=("damping", "omega"))}
LEARNERS |= {"PSN": lambda: rv.PSN(9), "QCFS": QCFS}


def variants():
    """Every neuron, with each of its options set otherwise; what it refuses is left out."""
    for c in NEURONS:
        for name, option in c().options.items():
            others = option.choices or ((True, False) if isinstance(option.default, bool) else ())
            for other in others:
                if other == option.default or (c is rv.PhysicalLI and name == "refractory"):
                    continue
                yield f"{c.__name__} {name}={other}", c, {name: other}


VARIANTS = {
    name: lambda c=c, given=given: c(**given, learn=c(**given).learnable)
    for name, c, given in variants()
    if c(**given).learnable
}
GAINS = (1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4)


def features(name):
    return BUILT[name].features if name in BUILT else (3,)


def leaves(layer):
    """Every learned parameter with its bounds, by name."""
    found = {}
    for path, module in layer.named_modules():
        for name, value in module.named_parameters(path, recurse=False):
            edges = (-torch.inf, torch.inf)
            if isinstance(module, Declared):
                edges = module.bounds(name.rpartition(".")[2])
            elif name.endswith("delay"):
                edges = (0.0, module.reach)
            found[name] = value, edges
    return found


def seen(layer, name):
    """A learned parameter as its layer uses it: what momentum carried out has been put back."""
    path, _, leaf = name.rpartition(".")
    module = layer.get_submodule(path)
    return module.value(leaf) if isinstance(module, Declared) else module.get_parameter(leaf)


def results(layer, x):
    """A weighted mean of each output, and of each state after the last step."""
    y, state = layer.scan(x) if isinstance(layer, rv.Temporal) else (layer(x), {})
    found = [v for v in tree_flatten((y, state))[0] if v.is_floating_point()]
    return torch.stack([(v.flatten() * torch.linspace(0.5, 1.5, v.numel())).mean() for v in found])


def inputs(name, layer, gain):
    """Input of that size [T, 2, *features], one or several."""
    one = layer if isinstance(layer, rv.Neuron) else getattr(layer, "neuron", rv.IF())
    x = drive(one, 9, (2, *features(name)))
    return tuple(gain * v for v in x) if isinstance(x, tuple) else gain * x


def awake(name, layer):
    """Input that is strong enough for an output."""
    for gain in GAINS:
        y = layer(x := inputs(name, layer, gain))
        if ((y[0] if isinstance(y, tuple) else y) != 0).float().mean() > 0.1:
            return x
    raise AssertionError(f"{name} is silent")


def alive(layer, x):
    """The parameters that have a gradient in one direction or the other: at an edge, the one that leads inwards."""
    found = set()
    for sign in (1, -1):
        layer.zero_grad()
        (sign * results(layer, x).sum()).backward()
        for leaf, (value, _) in leaves(layer).items():
            assert value.grad is None or value.grad.isfinite().all(), leaf
            found |= {leaf} if value.grad is not None and value.grad.any() else set()
    return found


def trained(name, steps, rate):
    """After so many steps of Adam: parameters within their bounds, and none that no input can move any more."""
    layer = (LEARNERS | VARIANTS)[name]()
    with rv.backend("reference"):
        x, optimiser = awake(name, layer), torch.optim.Adam(layer.parameters(), rate)
        for _ in range(steps):
            optimiser.zero_grad()
            (results(layer, x) - 0.4).square().sum().backward()
            optimiser.step()
        dead = set(leaves(layer)).difference(*(alive(layer, inputs(name, layer, gain)) for gain in GAINS))
    for leaf, (_, (low, high)) in leaves(layer).items():
        value = seen(layer, leaf).detach()
        assert value.isfinite().all() and (value >= low).all() and (value <= high).all(), (leaf, value, low, high)
    assert not dead, dead


@pytest.mark.parametrize("name", LEARNERS)
def test_training_leads_no_parameter_out_of_its_bounds(name):
    """As far as 300 steps of 0.02 lead."""
    trained(name, 20, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_many_small_steps_lead_no_parameter_out_of_its_bounds(name):
    trained(name, 300, 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_no_option_leads_a_parameter_out_of_its_bounds(name):
    trained(name, 20, 0.3)


@pytest.mark.parametrize("kernel", ["interpolated", "gaussian"])
def test_a_delay_beyond_its_edge_is_put_back_and_led_inwards(kernel):
    x = torch.rand(50, 2, 1)
    for outside, edge, sign in ((8.3, 8.0, 1.0), (-0.3, 0.0, -1.0)):
        layer = rv.LearnedDelay(1, longest=8, kernel=kernel)
        with torch.no_grad():
            layer.delay.fill_(outside)
        (late,) = torch.autograd.grad(layer(x).cumsum(0).sum(), layer.delay)  # smaller where x comes later
        (early,) = torch.autograd.grad(-layer(x).cumsum(0).sum(), layer.delay)
        assert layer.delay.item() == edge
        inwards, outwards = (early, late) if sign > 0 else (late, early)
        assert inwards.item() * sign > 0 and outwards.item() == 0


@pytest.mark.parametrize("delay", [0.0, 1.25, 2.0, 3.25, 4.0])
def test_the_derivative_by_a_delay_is_the_difference_of_its_two_lags(delay):
    x = torch.rand(12, 1, 1)
    layer = rv.LearnedDelay(1, longest=4, delay=delay)
    layer(x)[-1].sum().backward()
    before = min(int(delay), 3)
    slope = x[11 - before - 1] - x[11 - before]
    wanted = slope if 0 < delay < 4 or (slope < 0) == (delay == 0) else torch.zeros(1)  # at an edge, inwards only
    torch.testing.assert_close(layer.delay.grad, wanted.flatten())


def test_the_rise_of_a_learned_synapse_stays_quicker_than_its_decay():
    layer = rv.DoubleExponential(learn=("tau_rise", "tau_decay"))
    with torch.no_grad():
        layer.rising.fill_(layer.decaying.item() + 1.0)
    x = torch.zeros(40, 1, 1)
    x[0] = 1.0
    assert (layer(x)[1:] > 0).all() and layer.tau_rise < layer.tau_decay
    torch.testing.assert_close(layer.tau_decay, torch.full((1,), 10e-3))  # which was right


def test_the_threshold_of_an_activation_stays_positive():
    layer = QCFS(1.0)
    with torch.no_grad():
        layer.threshold.fill_(-2.0)
    y = layer(torch.linspace(-1.0, 2.0, 7))
    assert y.isfinite().all() and layer.threshold > 0

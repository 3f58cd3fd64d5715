import pytest
import torch
from torch.testing import assert_close

import ranvier as rv
from ranvier.nn.neurons.delta import Delta


def looped(x, v, beta, threshold, weight=None):
    """The equation, step by step, from the paper."""
    steps = []
    for x_t in x:
        z = (v > threshold).to(x)
        v = beta * v + x_t - z * threshold + (0 if weight is None else z @ weight.T)
        steps.append(z)
    return torch.stack(steps), v


def test_delayed_lif_is_its_equation():
    x = torch.randn(30, 4, 7) + 0.3
    z, state = rv.FireFirstLIF(beta=0.8, threshold=0.7).scan(x)
    wanted, v = looped(x, torch.zeros(4, 7), 0.8, 0.7)
    assert torch.equal(z, wanted)
    assert_close(state["v"], v)


def test_exactly_at_threshold_is_silent():
    assert not rv.FireFirstIF()(torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)).any()


def test_next_spike_is_this_spike_one_step_ahead():
    x = torch.rand(20, 2, 3)
    now, ahead = rv.FireFirstCubaLIF()(x), rv.FireFirstCubaLIF(emit="after")(x)
    assert torch.equal(now[1:], ahead[:-1])
    with pytest.raises(ValueError, match="emit"):
        rv.FireFirstIF(emit="later")


def test_a_learned_decay_stays_in_its_bounds():
    layer = rv.FireFirstLIF(beta=1.0, learn="beta")
    layer.beta.data.fill_(1.4)  # as momentum may do
    x = torch.rand(6, 1, 2)
    assert torch.equal(layer(x), rv.FireFirstLIF(beta=1.0)(x)) and layer.beta == 1.0
    (-layer(x)).sum().backward()
    assert layer.beta.grad == 0  # descent would lead outwards
    layer(x).sum().backward()
    assert layer.beta.grad > 0  # and here inwards
    with pytest.raises(ValueError, match="between 0 and 1"):
        rv.FireFirstLIF(beta=1.4)


def test_feedback_comes_within_the_step():
    torch.manual_seed(0)
    layer = rv.FireFirstRecurrent(rv.FireFirstLIF(beta=0.9, emit="after"), 5)
    x, v = torch.randn(25, 3, 5) + 0.5, torch.randn(3, 5)
    z, state = layer.scan(x, {"v": v})
    wanted, after = looped(x, v, 0.9, 1.0, layer.feedback.weight.detach())
    assert torch.equal(z.detach(), wanted)
    assert_close(state["v"].detach(), after)


def test_recurrence_in_chunks_and_steps():
    layer = rv.FireFirstRecurrent(rv.FireFirstCubaLIF(emit="after"), 4)
    x = torch.rand(9, 2, 4)
    whole, end = layer.scan(x)
    first, state = layer.scan(x[:4])
    second, state = layer.scan(x[4:], state)
    assert torch.equal(whole, torch.cat([first, second]))
    assert all(torch.equal(end[k], state[k]) for k in end)
    traces = rv.record(layer, x, "z")
    assert torch.equal(traces[""], whole)


def test_recurrence_wants_a_neuron_that_looks_ahead():
    with pytest.raises(TypeError, match="emit='after'"):
        rv.FireFirstRecurrent(rv.FireFirstLIF(), 4)


def test_delta_follows_the_signal():
    signal = torch.sin(torch.linspace(0, 6, 200)).view(-1, 1, 1)
    (up, down), _ = Delta(threshold=0.05).scan(signal)
    told = 0.05 * (up - down).cumsum(0)
    assert (told - signal).abs().max() < 0.06

import pytest
import torch
from torch.testing import assert_close

import ranvier as rv
from ranvier.backends import linear


def grads(layer, x, v):
    x, v = x.clone().requires_grad_(), v.clone().requires_grad_()
    z, state = layer.scan(x, {"v": v})
    weights = torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view_as(z)
    ((z * weights).sum() + (state["v"] ** 2).sum()).backward()
    return [z.detach(), state["v"].detach(), x.grad, v.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [1, 2, 33, 300])
@pytest.mark.parametrize(
    ("kind", "reference"),
    [(rv.ParallelLIF, rv.FireFirstLIF), (rv.AssociativeLIF, lambda **k: rv.AssociativeLIF(parallel=False, **k))],
)
def test_parallel_gives_what_the_steps_give(kind, reference, steps, dtype):
    torch.manual_seed(steps)
    x, v = torch.randn(steps, 3, 17, dtype=dtype) + 0.3, torch.randn(3, 17, dtype=dtype)
    settings = {
        "beta": torch.rand(17, dtype=dtype),
        "threshold": torch.rand(17, dtype=dtype) + 0.5,
        "learn": ("beta", "threshold"),
        "surrogate": rv.surrogate.superspike(5.0),
    }
    wanted, got = grads(reference(**settings), x, v), grads(kind(parallel=True, **settings), x, v)
    assert torch.equal(wanted[0], got[0])
    for a, b in zip(wanted[1:], got[1:], strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-4 * a.abs().max().item())  # sums of 300 terms in another order


@pytest.mark.parametrize("rounds", [1, 2])
def test_never_a_wrong_spike(rounds):
    """Membranes exactly at the threshold, and more spikes than rounds: what cannot be known is carried by steps."""
    x = torch.randint(-2, 4, (60, 4, 50)) / 4.0  # multiples of a quarter often meet the threshold exactly
    x = x.to(torch.float32)
    layer = rv.ParallelLIF(beta=1.0, parallel=True, rounds=rounds)
    assert torch.equal(layer(x), rv.FireFirstLIF(beta=1.0)(x))


def test_machine_chooses_steps_on_a_cpu():
    x = torch.rand(500, 1, 2)
    assert "Numba" in rv.AssociativeLIF().explain(x)
    assert "parallel over time" in rv.AssociativeLIF(parallel=True).explain(x)
    assert not linear.worth(x)


@pytest.mark.parametrize("parallel", [True, False])
def test_resonate_is_its_equation(parallel):
    torch.manual_seed(0)
    damping, omega = torch.rand(4) + 0.05, torch.rand(4) * 3
    layer = rv.AssociativeResonate(damping=damping, omega=omega, dt=0.5, learn=("damping", "omega"), parallel=parallel)
    x = torch.randn(40, 2, 4)
    s, steps = torch.zeros(2, 4, dtype=torch.complex64), []
    for x_t in x:
        s = torch.exp(0.5 * torch.complex(-damping, omega)) * s + x_t
        steps.append(s)
    wanted = torch.stack(steps)
    assert_close(rv.record(layer, x, "im")[""].detach(), wanted.imag, rtol=1e-4, atol=1e-5)
    z, state = layer.scan(x)
    assert torch.equal(z.detach(), (wanted.real > 1.0).float())
    assert_close(state["re"].detach(), wanted.real[-1], rtol=1e-4, atol=1e-5)
    z.sum().backward()
    assert layer.raw.grad.abs().sum() > 0 and layer.omega.grad.abs().sum() > 0


def test_resonate_gradients_agree():
    x = torch.randn(30, 2, 4)
    found = []
    for parallel in (True, False):
        layer = rv.AssociativeResonate(damping=0.1, omega=0.7, learn=("damping", "omega"), parallel=parallel)
        given = x.clone().requires_grad_()
        layer(given).sum().backward()
        found.append([given.grad, layer.raw.grad, layer.omega.grad])
    for a, b in zip(*found, strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_resonate_refuses():
    for wrong in ({"dt": 0.0}, {"damping": 0.0}, {"learn": ("dt",)}):
        with pytest.raises(ValueError):
            rv.AssociativeResonate(**wrong)

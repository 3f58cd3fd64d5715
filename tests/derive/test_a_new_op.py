"""An op that no other expresses is two entries, its value and its derivative: every backend has it then."""

import numpy as np
import pytest
import torch

import ranvier as rv
from ranvier import export, ops
from ranvier.derive.operations import OPERATIONS, Operation

NEW = {
    "sin": (torch.sin, lambda g, y, a: (g * ops.apply("cos", a),)),
    "cos": (torch.cos, lambda g, y, a: (-(g * ops.apply("sin", a)),)),
    "expm1": (torch.expm1, lambda g, y, a: (g * (y + 1.0),)),
    "atan2": (torch.atan2, lambda g, y, a, b: (g * (b / (a * a + b * b)), -(g * (a / (a * a + b * b))))),
}


@pytest.fixture(autouse=True)
def added(monkeypatch):
    for name, (value, pull) in NEW.items():
        monkeypatch.setitem(ops.EAGER, name, value)
        monkeypatch.setitem(OPERATIONS, name, Operation(pull))


class Swinging(rv.Neuron):
    """A neuron of the new ops."""

    w = rv.Param(0.3)
    v = rv.State()

    @staticmethod
    def rule(x, v, w):
        v = 0.9 * v + ops.apply("sin", x) - 0.1 * ops.apply("cos", v) + 0.2 * ops.apply("expm1", w * x)
        v = v + 0.1 * ops.apply("atan2", x, v + 3.0)
        z = ops.spike(v - 0.5)
        return z, v - 0.5 * z


@pytest.mark.parametrize("backend", ["numba", "triton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_backend_has_it(backend, dtype):
    torch.manual_seed(0)
    x = torch.randn(20, 3, 5, dtype=dtype)
    found = []
    for name in ("reference", backend):
        neuron, given = Swinging(learn="w").to(dtype), x.clone().requires_grad_()
        with rv.backend(name):
            y = neuron(given)
            y.sum().backward()
        found.append((y, given.grad, next(neuron.parameters()).grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5 if dtype == torch.float32 else 1e-11, atol=1e-5)
    assert found[0][0].any()


def test_integers_read_it_from_a_table():
    class Turning(rv.Neuron):
        """A neuron that turns."""

        v = rv.State()

        @staticmethod
        def rule(x, v):
            v = 0.5 * v + ops.apply("sin", x)
            z = ops.spike(v - 0.4)
            return z, v - 0.4 * z

    torch.manual_seed(0)
    net, x = rv.Sequential(torch.nn.Linear(4, 6), Turning()), (torch.rand(30, 2, 4) < 0.4).float()
    program = export.c(net, x, bits=8, state_bits=32)
    spikes = program.decode(program.run(program.encode(x)))
    assert np.asarray(spikes == net(x)).mean() > 0.95
    assert "sin" in program.source

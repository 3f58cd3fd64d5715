"""What a neuron's class declares: arguments, states, mistakes, and what may be changed after it is built."""

import copy
import inspect

import pytest
import torch

import ranvier as rv
from ranvier.derive.trace import RuleError


def test_a_time_constant_is_another_way_to_say_a_decay():
    layer = rv.LIF(tau=20e-3, dt=1e-3)
    torch.testing.assert_close(layer.beta, torch.tensor(rv.decay(20e-3, 1e-3)))
    layer.dt = 2e-3  # a step of another length keeps the time constant
    torch.testing.assert_close(layer.beta, torch.tensor(rv.decay(20e-3, 2e-3)))
    torch.testing.assert_close(layer.tau, torch.tensor(20e-3))
    assert rv.RestLIF(tau=4.0).leak == 0.25
    with pytest.raises(TypeError, match="give one of them"):
        rv.LIF(beta=0.9, tau=2.0)


def test_what_is_set_later_acts_or_is_refused():
    x = torch.rand(8, 2, 3)
    layer = rv.LIF()
    layer.surrogate, layer.reset, layer.beta = rv.surrogate.boxcar(0.2, 5.0), "zero", 0.5
    found = []
    built = rv.LIF(surrogate=rv.surrogate.boxcar(0.2, 5.0), reset="zero", beta=0.5)
    for one in (layer, copy.deepcopy(layer), built):
        leaf = x.clone().requires_grad_()
        one(leaf).sum().backward()
        found.append(leaf.grad)
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[2])
    with pytest.raises(ValueError, match="reset must be one of"):
        layer.reset = "sub"
    with pytest.raises(ValueError, match="between 0 and 1"):
        layer.beta = 1.5
    with pytest.raises(AttributeError, match="build a new neuron"):
        layer.learn = ("beta",)
    with pytest.raises(AttributeError, match=r"ranvier\.record"):
        layer.v  # noqa: B018


def test_states_come_out_in_the_order_of_the_rules_arguments_or_by_name():
    class Ordered(rv.Neuron):
        a, v = rv.State(), rv.State()

        @staticmethod
        def rule(x, v, a):
            return v, (v + x, a + 10.0)

    class Named(Ordered):
        @staticmethod
        def rule(x, v, a):
            return v, {"a": a + 10.0, "v": v + x}

    for layer in (Ordered(), Named()):
        _, state = layer.scan(torch.ones(3, 1, 1))
        assert state["v"].item() == 3.0 and state["a"].item() == 30.0


def test_mistakes_of_a_first_neuron_show_the_line_and_the_cure():
    with pytest.raises(TypeError, match="Write @staticmethod above it"):

        class A(rv.Neuron):
            v = rv.State()

            def rule(self, x, v):
                return v, v

    class B(rv.Neuron):
        v = rv.State()

        @staticmethod
        def rule(x, v):
            return v + x

    with pytest.raises(RuleError, match=r"its output alone\n.*\n    return v \+ x\nReturn the output, then the states"):
        B()
    with pytest.raises(TypeError, match="'run' is already a name of every neuron"):

        class C(rv.Neuron):
            run: rv.Param = rv.Param(1.0)

    with pytest.raises(TypeError, match=r"the rule that D has from LIF does not take \['gain'\]"):

        class D(rv.LIF):
            gain: rv.Param = rv.Param(1.0)

    with pytest.raises(TypeError, match="makes a surrogate when it is called"):
        rv.LIF(surrogate=rv.surrogate.atan)  # type: ignore[arg-type]


def test_arguments_are_shown():
    assert list(inspect.signature(rv.LIF).parameters)[:3] == ["beta", "threshold", "tau"]
    assert "decay of the membrane per step; between 0 and 1" in inspect.getdoc(rv.LIF)
    assert "tau_mem" in inspect.signature(rv.AdEx).parameters


def test_learned_numbers_have_one_axis_and_old_ones_load():
    layer = rv.LIF(learn="beta")
    assert layer.beta.shape == (1,)
    layer.load_state_dict({"beta": torch.tensor(0.3), "threshold": torch.tensor(1.0)})
    assert layer.beta.item() == pytest.approx(0.3)


def test_on_the_meta_device():
    with torch.device("meta"):
        layer = rv.Sequential(rv.LIF(learn="beta"), rv.Lowpass())
    assert layer[0].beta.is_meta and repr(layer)
    made = layer.to_empty(device="cpu")
    made.load_state_dict(rv.Sequential(rv.LIF(learn="beta"), rv.Lowpass()).state_dict())
    assert made(torch.rand(3, 1, 2)).isfinite().all()

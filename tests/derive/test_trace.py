"""A rule that cannot be carried everywhere is refused, with its line and the cure."""

import math

import pytest
import torch

from ranvier import Neuron, Param, State
from ranvier.derive.trace import RuleError
from ranvier.ops import clamp, exp, spike, where


def build(function):
    class Broken(Neuron):
        k = Param(1.0)
        v = State(0.0)

        @staticmethod
        def rule(x, v, k):
            return function(x, v, k), v

    return Broken()


def ladder(x, v, k):
    if v > 1:
        return x
    return v


CASES = {
    "if": (ladder, "where\\(condition, a, b\\)"),
    "torch": (lambda x, v, k: torch.exp(x), "torch.exp cannot be used.*in ranvier.ops: abs"),
    "math": (lambda x, v, k: math.exp(x), "Use the functions of ranvier.ops"),
    "max": (lambda x, v, k: max(x, v), "cannot decide in Python"),
    "sum": (lambda x, v, k: sum(x), "one number per neuron"),
    "index": (lambda x, v, k: x[0], "one number per neuron"),
    "method": (lambda x, v, k: x.relu(), "has no methods"),
    "modulo": (lambda x, v, k: x % 2, "has no such operator"),
    "matrix": (lambda x, v, k: x @ v, "has no such operator"),
    "power": (lambda x, v, k: x**0.5, "power must be 2 or 3"),
    "tensor": (lambda x, v, k: x * torch.ones(3), "cannot be used in a rule|not on Tensor"),
    "list": (lambda x, v, k: x * [1], "plain numbers, not on list"),
    "condition": (lambda x, v, k: (x > 0) * v, "a comparison is not a number"),
    "number as condition": (lambda x, v, k: where(x, v, k), "must be a comparison"),
    "half a condition": (lambda x, v, k: where((x > 0) & v, v, k), "both sides must be comparisons"),
    "clamp": (lambda x, v, k: clamp(x, v, k), "bounds must be plain numbers"),
    "plain number": (lambda x, v, k: exp(1.0) * x, "needs a value of the rule"),
    "comparison given out": (lambda x, v, k: x > 0, "write where\\(condition, 1.0, 0.0\\)"),
    "string given out": (lambda x, v, k: "spike", "wanted a value made of its arguments"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_rule_may_not_say(case):
    function, message = CASES[case]
    with pytest.raises(TypeError, match=f"(?s){message}"):
        build(function)


def test_the_error_shows_the_line_of_the_rule():
    with pytest.raises(RuleError, match=r'test_trace.py", line \d+, in rule\n    if v > 1:'):

        class Branching(Neuron):
            v = State(0.0)

            @staticmethod
            def rule(x, v):
                if v > 1:
                    v = v - 1
                return spike(v), v

        Branching()


def test_a_rule_takes_what_the_class_declares():
    with pytest.raises(TypeError, match="does not take \\['k'\\], which Forgetful declares"):

        class Forgetful(Neuron):
            k = Param(1.0)
            v = State(0.0)

            @staticmethod
            def rule(x, v):
                return x, v

    with pytest.raises(TypeError, match="takes no input"):

        class Deaf(Neuron):
            v = State(0.0)

            @staticmethod
            def rule(v):
                return v, v


def test_a_rule_gives_as_many_states_as_declared():
    class Lossy(Neuron):
        v, a = State(0.0), State(0.0)

        @staticmethod
        def rule(x, v, a):
            return x, (v,)

    with pytest.raises(TypeError, match="gives 1 states, wanted 2"):
        Lossy()


def test_names_that_kernels_use_may_be_used_in_a_rule():
    class Shadow(Neuron):
        exp, t0, n, lo = Param(0.5), Param(0.25), Param(1.0), Param(0.0)
        w, g0 = State(0.0), State(0.0)

        @staticmethod
        def rule(t, w, g0, exp, t0, n, lo):
            w = exp * w + t
            return spike(w - n), (w * t0, g0 + lo)

    x = torch.rand(4, 2, 3)
    assert Shadow()(x).shape == x.shape

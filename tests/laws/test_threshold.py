"""A membrane at its threshold fires, but where the neuron's source says above it, and then its text does too."""

import pytest
import torch

import ranvier as rv
from everything import NEURONS
from ranvier.derive.hoist import evaluate
from ranvier.derive.trace import SPIKES

# Their sources compare with ">".
ABOVE = {
    "AssociativeLIF", "FireFirstALIF", "FireFirstCubaLIF", "FireFirstIF", "FireFirstLIF", "ParallelLIF", "TimedLIF",
}  # fmt: skip
SPIKING = [c for c in NEURONS if c().spiking]


def built(neuron):
    return neuron(gradient="surrogate") if neuron is rv.TimedLIF else neuron()


def evaluated(rule, known):
    """What every spike of a step is at a distance of 0, and the distance of the first."""
    first = next(op for op in rule.step.ops if op.name in SPIKES)
    plain = [op for op in rule.step.ops if op.name not in SPIKES]
    zero = torch.zeros(5, dtype=torch.float64)
    fired = {op.out: rv.ops.apply(op.name, zero) for op in rule.step.ops if op.name in SPIKES}
    found = evaluate(plain, known | fired)
    return fired, found[first.args[0]]


@pytest.mark.parametrize("neuron", SPIKING, ids=lambda c: c.__name__)
def test_a_membrane_at_its_threshold(neuron):
    layer = built(neuron)
    rule = layer.bound(())
    known = {name: torch.rand(5, dtype=torch.float64) + 0.5 for name in rule.arguments}
    fired, _ = evaluated(rule, known)
    assert {bool(z.all()) for z in fired.values()} == {neuron.__name__ not in ABOVE}
    name = "theta_" if "theta" in layer.states else "threshold_"
    if name in known:
        for _ in range(40):  # raised by the distance, it is where the membrane is; some equations read it too
            known[name] = known[name] + evaluated(rule, known)[1]
        torch.testing.assert_close(evaluated(rule, known)[1], torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-9)
    if "threshold" in layer.params:
        assert ("above it" in layer.params["threshold"].doc) == (neuron.__name__ in ABOVE)


@pytest.mark.parametrize("backend", ["reference", "numba", "triton"])
def test_layers_made_of_neurons_compare_as_they_do(backend):
    exactly = torch.ones(1, 1, 1)
    with rv.backend(backend):
        assert rv.IF()(exactly) == 1 and rv.Refractory(rv.IF())(exactly) == 1 and rv.Heaviside()(exactly) == 1
        assert rv.AssociativeResonate()(exactly) == 0 and rv.AssociativeResonate()(exactly + 1e-6) == 1
        assert rv.AssociativeLIF()(exactly) == 0 and rv.AssociativeLIF()(exactly + 1e-6) == 1

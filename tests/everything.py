"""Every neuron and every temporal layer that Ranvier gives its users, found by looking: new ones are tested too."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

import ranvier as rv
from ranvier.nn.length import Whole

NEURONS = sorted(
    {v for v in vars(rv).values() if inspect.isclass(v) and issubclass(v, rv.Neuron) and v is not rv.Neuron},
    key=lambda c: c.__name__,
)


@dataclass(frozen=True)
class Example:
    """How to build a layer, and the features [*F] it is given."""

    build: Callable[[], nn.Module]
    features: tuple[int, ...] = (3,)
    exact: bool = True  # no matrix product inside, so equal inputs give bit-equal outputs


# Temporal layers whose constructor needs arguments.
IMAGE, VOLUME = (2, 3, 3), (2, 2, 2, 3)
BUILT: dict[str, Example] = {
    "BatchNormThroughTime1d": Example(lambda: rv.BatchNormThroughTime1d(3, steps=9), exact=False),
    "BatchNormThroughTime2d": Example(lambda: rv.BatchNormThroughTime2d(2, steps=9), IMAGE, exact=False),
    "BatchNormThroughTime3d": Example(lambda: rv.BatchNormThroughTime3d(2, steps=9), VOLUME, exact=False),
    "Delay": Example(lambda: rv.Delay(torch.tensor([0, 2, 3]))),
    "DelayedLinear": Example(lambda: rv.DelayedLinear(3, 3, longest=4), exact=False),
    "DropConnectLinear": Example(lambda: rv.DropConnectLinear(3, 3), exact=False),
    "TemporalEffectiveBatchNorm1d": Example(lambda: rv.TemporalEffectiveBatchNorm1d(3, steps=9), exact=False),
    "TemporalEffectiveBatchNorm2d": Example(lambda: rv.TemporalEffectiveBatchNorm2d(2, steps=9), IMAGE, exact=False),
    "TemporalEffectiveBatchNorm3d": Example(lambda: rv.TemporalEffectiveBatchNorm3d(2, steps=9), VOLUME, exact=False),
    "ElementwiseRecurrent": Example(lambda: rv.ElementwiseRecurrent(rv.LIF())),
    "GatedLIF": Example(lambda: rv.GatedLIF(steps=9)),
    "LearnedDelay": Example(lambda: rv.LearnedDelay(3, longest=4)),
    "LinearRecurrent": Example(lambda: rv.LinearRecurrent(rv.LIF(), 3, 3), exact=False),
    "MaskedPSN": Example(lambda: rv.MaskedPSN(order=3, steps=9), exact=False),
    "NeuNorm": Example(lambda: rv.NeuNorm(*IMAGE), IMAGE, exact=False),
    "FireFirstRecurrent": Example(lambda: rv.FireFirstRecurrent(rv.FireFirstLIF(emit="after"), 3), exact=False),
    "Recurrent": Example(lambda: rv.Recurrent(rv.ALIF(), 3), exact=False),
    "SlidingPSN": Example(lambda: rv.SlidingPSN(order=3), exact=False),
    "ThresholdBatchNorm1d": Example(lambda: rv.ThresholdBatchNorm1d(3), exact=False),
    "ThresholdBatchNorm2d": Example(lambda: rv.ThresholdBatchNorm2d(2), IMAGE, exact=False),
    "ThresholdBatchNorm3d": Example(lambda: rv.ThresholdBatchNorm3d(2), VOLUME, exact=False),
    "SpikingActivation": Example(lambda: rv.SpikingActivation(torch.relu, dt=0.5, start=0.25)),
    "TimedRecurrent": Example(lambda: rv.TimedRecurrent(rv.TimedLIF(), 3), exact=False),
    "Refractory": Example(lambda: rv.Refractory(rv.LIF(), period=2)),
}


def _examples() -> dict[str, Example]:
    found = {c.__name__: Example(c) for c in NEURONS}
    for name, c in sorted(vars(rv).items()):
        abstract = (rv.Temporal, rv.Neuron)
        if inspect.isclass(c) and issubclass(c, Whole):
            continue  # it sees all steps at once, so it neither streams nor respects the order of time, and says so
        if inspect.isclass(c) and issubclass(c, rv.Temporal) and c not in abstract and name not in found:
            found[name] = BUILT[name] if name in BUILT else Example(c)
    return found


EXAMPLES = _examples()


def drive(neuron: rv.Neuron, steps: int, shape: tuple[int, ...], dtype=torch.float32, seed: int = 0):
    """Random input(s) [T, *shape] that make a neuron spike now and then."""
    generator = torch.Generator().manual_seed(seed)
    xs = [
        torch.rand(steps, *shape, generator=generator, dtype=torch.float64).mul(1.6).sub(0.3).to(dtype)
        for _ in neuron.inputs
    ]
    return xs[0] if len(xs) == 1 else tuple(xs)

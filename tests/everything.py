"""Every neuron and every temporal layer that Ranvier gives its users, found by looking: new ones are tested too."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

import ranvier as rv

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
BUILT: dict[str, Example] = {
    "Recurrent": Example(lambda: rv.Recurrent(rv.ALIF(), 3), exact=False),
    "TimedRecurrent": Example(lambda: rv.TimedRecurrent(rv.TimedLIF(), 3), exact=False),
    "Refractory": Example(lambda: rv.Refractory(rv.LIF(), period=2)),
}


def _examples() -> dict[str, Example]:
    found = {c.__name__: Example(c) for c in NEURONS}
    for name, c in sorted(vars(rv).items()):
        abstract = (rv.Temporal, rv.Neuron)
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

"""Layers with parameters for each step: the number of steps of their sequences is fixed or limited."""

from typing import Any

import torch
from torch import Tensor

from ranvier.nn.temporal import Temporal, check_sequence


def count(name: str, steps: Any) -> int:
    """Return `steps` if it is a whole number of at least 1; otherwise raise an error that contains `name`."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {steps!r}")
    return steps


def span(layer: Temporal, x: Tensor, state: Any, steps: int) -> tuple[int, dict[str, Tensor]]:
    """Return the step at which x [T, B, *features] begins, and the state {"step": [B]} after it; raise an error if this
    is more than `steps`.
    """
    begin = 0 if state is None else int(state["step"][0])
    end = begin + x.shape[0]
    if end > steps:
        raise ValueError(
            f"{type(layer).__name__} has parameters for {steps} steps, but this sequence reaches step {end}; "
            f"build it with {end}, or begin a new sequence with state=None"
        )
    return begin, {"step": torch.full((x.shape[1],), end, device=x.device)}


class Whole(Temporal):
    """A layer whose output at each step depends on all steps, also on later ones. So it cannot continue from a state or
    be streamed.

    A subclass defines `mix(x)`; x [T, B, *features] must have exactly `steps` steps.
    """

    def __init__(self, steps: int):
        super().__init__()
        self.steps = count(f"{type(self).__name__}: steps", steps)

    def mix(self, x: Tensor) -> Tensor:
        """Compute the output for the whole sequence x [T, B, *features]."""
        raise NotImplementedError(f"{type(self).__name__} must define mix(x)")

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        name = type(self).__name__
        if state is not None or x.shape[0] != self.steps:
            raise ValueError(
                f"{name} needs all {self.steps} steps of a sequence at once and cannot continue from a state or run on "
                f"{x.shape[0]} steps; give it x [{self.steps}, B, *features] in one call"
            )
        y = self.mix(x)
        return y, {"step": torch.full((x.shape[1],), self.steps, device=x.device)}, {n: y for n in names}

    def explain(self, x: Any) -> str:
        return "all steps at once"

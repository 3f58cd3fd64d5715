"""Spyx's experimental neurons."""

from copy import copy
from typing import Any

from torch import Tensor

from ranvier.compat.rows import lend
from ranvier.compat.spyx.neurons import LIF, PSU_LIF, AssociativeLIF
from ranvier.compat.spyx.phasor import ResonateFire
from ranvier.nn.neurons.associative import ParallelLIF

__all__ = ["PSU_LIF", "AssociativeLIF", "ParallelResetLIF", "ResonateFire"]


class ParallelResetLIF(LIF):
    """`LIF` with a method `parallel`, which finds the same spikes for all steps at once."""

    kind = ParallelLIF

    def parallel(self, x: Tensor, K: int = 3) -> Tensor:
        """Return the spikes of x [T, B, *shape] from rest, after at most K rounds in parallel; neurons that have not
        converged by then run step by step, so that, unlike in Spyx, the spikes are right for every K.
        """
        core: Any = copy(self._core(x))
        core._parameters, core._buffers = dict(core._parameters), dict(core._buffers)
        core.parallel, core.rounds = True, K
        with lend(core, self._numbers(x)):
            return core.scan(x, {"v": self.initial_state(x.shape[1]).to(x)})[0]

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
    """`LIF` with a method `parallel`, which computes the same spikes for all steps at once."""

    kind = ParallelLIF

    def parallel(self, x: Tensor, K: int = 3) -> Tensor:
        """Return the spikes for x [T, B, *shape], with neurons at rest before the first step. After at most K parallel
        rounds, neurons that have not converged run step by step. So the spikes are right for every K, unlike in Spyx.
        """
        core: Any = copy(self._core(x))
        core._parameters, core._buffers = dict(core._parameters), dict(core._buffers)
        core.parallel, core.rounds = True, K
        with lend(core, self._numbers(x)):
            return core.scan(x, {"v": self.initial_state(x.shape[1]).to(x)})[0]

"""Spyx's experimental neurons."""

from copy import copy
from typing import Any, ClassVar

from torch import Tensor

from ranvier.compat.spyx.axn import superspike
from ranvier.compat.spyx.keys import Key
from ranvier.compat.spyx.neurons import Decay, StatefulLayer, _decay, _settings, _shape
from ranvier.nn.neurons.associative import ParallelLIF


class ParallelResetLIF(StatefulLayer):
    """The step of LIF, and `parallel`, which finds the same spikes for all steps at once."""

    learned: ClassVar = {"beta": "beta"}

    def __init__(
        self, hidden_shape: Any, beta: Decay = None, threshold: Any = 1.0, activation: Any = None, *, rngs: Key = None
    ):
        activation = activation or superspike()
        core = ParallelLIF(**_settings(activation, threshold, beta=_decay(beta, _shape(hidden_shape), rngs)))
        super().__init__(hidden_shape, core, activation)

    def parallel(self, x: Tensor, K: int = 3) -> Tensor:
        """Spikes of x [T, B, *shape] from rest, after at most K rounds in parallel; what has not settled by then is
        carried step by step, so that, unlike in Spyx, the spikes are right for every K."""
        core: Any = copy(self.core)  # the same parameters
        core.parallel, core.rounds = True, K
        return core.scan(x, {"v": self.initial_state(x.shape[1]).to(x)})[0]

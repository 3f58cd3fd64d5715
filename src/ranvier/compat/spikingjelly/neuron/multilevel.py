"""Neurons that say more than one bit."""

import ranvier
from ranvier.compat.spikingjelly import surrogate
from ranvier.compat.spikingjelly.neuron.node import BaseNode, Surrogate, resetting, slope
from ranvier.nn.neurons.parametric import leak


class TernaryIFNode(BaseNode):
    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.TernaryLIF(
            leak=0.0, decay_input=False, threshold=v_threshold, rest=v_reset or 0.0,
            surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)})


class TernaryLIFNode(BaseNode):
    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.TernaryLIF(
            leak=leak(tau), decay_input=decay_input, threshold=v_threshold, rest=v_reset or 0.0,
            surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)})


class ILIFNode(BaseNode):
    def __init__(
        self,
        tau: float = 4.0 / 3.0,
        v_threshold: float = 1.0,
        surrogate_function: surrogate.MultiLevelSpikeCount = surrogate.MultiLevelSpikeCount(4),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        if not isinstance(surrogate_function, surrogate.MultiLevelSpikeCount):
            raise TypeError(f"ILIFNode: surrogate_function must be a MultiLevelSpikeCount, got {surrogate_function!r}")
        core = ranvier.IntegerLIF(
            leak=leak(tau), threshold=v_threshold, levels=surrogate_function.max_spike_count, detach_reset=detach_reset
        )
        super().__init__(core, step_mode, store_v_seq)

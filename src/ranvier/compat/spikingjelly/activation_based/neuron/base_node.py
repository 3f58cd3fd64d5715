"""Base classes for nodes of your own: charge, fire and reset are torch operations on stored memories."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ranvier.compat.spikingjelly.activation_based import surrogate
from ranvier.compat.spikingjelly.activation_based.base import MemoryModule

SPIKES: dict[str, Any] = {
    "v_threshold": 1.0,
    "v_reset": 0.0,
    "surrogate_function": surrogate.Sigmoid(),
    "detach_reset": False,
}
STEPS: dict[str, Any] = {"step_mode": "s", "store_v_seq": False, "backend": "torch"}


def rest(node: Any) -> Any:
    return 0.0 if node.v_reset is None else node.v_reset


class BaseNode(MemoryModule):
    """Base class of nodes. A subclass defines `neuronal_charge(x)`, which changes `self.v`, in torch operations.

    >>> import torch
    >>> class Doubling(BaseNode):
    ...     def neuronal_charge(self, x):
    ...         self.v = self.v + 2.0 * x
    >>> Doubling(step_mode="m")(torch.full((3, 1), 0.3)).flatten()
    tensor([0., 1., 0.])
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] = SPIKES["surrogate_function"],
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
        backend: str = "torch",
    ):
        super().__init__(step_mode)
        given = v_threshold, v_reset, surrogate_function, detach_reset
        self._publish(dict(zip(SPIKES, given, strict=True)) | {"store_v_seq": store_v_seq, "backend": backend})
        self.register_memory("v", rest(self))

    def _publish(self, values: dict[str, Any]) -> None:
        """Set the published attributes; a wrong type raises an error.

        Up to version 0.0.0.0.14, backend came before store_v_seq: as positional arguments, both orders are accepted.
        """
        if isinstance(values.get("store_v_seq"), str):
            late = values["backend"] if isinstance(values["backend"], bool) else False
            values = {**values, "store_v_seq": late, "backend": values["store_v_seq"]}
        for name, value in values.items():
            if name in KINDS and not KINDS[name][0](value):
                raise TypeError(f"{type(self).__name__}: {name} must be {KINDS[name][1]}, got {value!r}")
            setattr(self, name, value)
        self.v_seq: Tensor | None = None

    def v_float_to_tensor(self, x: Tensor) -> None:
        if not isinstance(self.v, Tensor):
            self.v = torch.full_like(x.detach(), float(self.v))

    def neuronal_charge(self, x: Tensor) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define neuronal_charge(x), which changes self.v")

    def neuronal_fire(self) -> Tensor:
        return self.surrogate_function(self.v - self.v_threshold)

    def neuronal_reset(self, spike: Tensor) -> None:
        spike = spike.detach() if self.detach_reset else spike
        if self.v_reset is None:
            self.v = self.jit_soft_reset(self.v, spike, self.v_threshold)
        else:
            self.v = self.jit_hard_reset(self.v, spike, self.v_reset)

    @staticmethod
    def jit_hard_reset(v: Tensor, spike: Tensor, v_reset: Any) -> Tensor:
        return (1.0 - spike) * v + spike * v_reset

    @staticmethod
    def jit_soft_reset(v: Tensor, spike: Tensor, v_threshold: Any) -> Tensor:
        return v - spike * v_threshold

    def single_step_forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.v_float_to_tensor(x)
        self.neuronal_charge(x)
        spike = self.neuronal_fire()
        self.neuronal_reset(spike)
        return spike

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:  # type: ignore[override]
        spikes, membranes = [], []
        for x in x_seq.unbind(0):
            spikes.append(self.single_step_forward(x))
            membranes.append(self.v)
        if self.store_v_seq:
            self.v_seq = torch.stack(membranes)
        return torch.stack(spikes)

    def extra_repr(self) -> str:
        names = ("v_threshold", "v_reset", "detach_reset", "step_mode", "backend")
        return ", ".join(f"{k}={getattr(self, k)}" for k in names if hasattr(self, k))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float, Tensor)) and not isinstance(value, bool)


# The type of each argument, and its description.
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "v_threshold": (_number, "a number"),
    "v_reset": (lambda v: v is None or _number(v), "a number, or None for a reset by subtraction"),
    "surrogate_function": (callable, "a function of v - v_threshold, such as surrogate.ATan()"),
    "detach_reset": (lambda v: isinstance(v, bool), "True or False"),
    "store_v_seq": (lambda v: isinstance(v, bool), "True or False"),
}


class AdaptBaseNode(BaseNode):
    """`BaseNode` with an adaptation w: w += (a (v - v_rest) - w) / tau_w before the reset, w += b z after it."""

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        v_rest: float = 0.0,
        w_rest: float = 0.0,
        tau_w: float = 2.0,
        a: float = 0.0,
        b: float = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] = SPIKES["surrogate_function"],
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
        backend: str = "torch",
    ):
        super().__init__(v_threshold, v_reset, surrogate_function, detach_reset, step_mode, store_v_seq, backend)
        self.v_rest, self.w_rest, self.tau_w, self.a, self.b = v_rest, w_rest, tau_w, a, b
        self.register_memory("w", w_rest)

    def neuronal_adaptation(self) -> None:
        self.w = self.w + (self.a * (self.v - self.v_rest) - self.w) / self.tau_w

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        self.w = self.w + self.b * (spike.detach() if self.detach_reset else spike)

    def single_step_forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.v_float_to_tensor(x)
        self.neuronal_charge(x)
        self.neuronal_adaptation()
        spike = self.neuronal_fire()
        self.neuronal_reset(spike)
        return spike


AdaptiveBaseNode = AdaptBaseNode  # the name up to version 0.0.0.0.12

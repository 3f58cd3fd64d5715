"""The nodes of `cext`: those of `clock_driven`, whose surrogate is chosen by a name, "ATan" by default."""

from typing import Any

from ranvier.compat.rows import bound
from ranvier.compat.spikingjelly.activation_based import surrogate
from ranvier.compat.spikingjelly.activation_based.neuron.base_node import BaseNode
from ranvier.compat.spikingjelly.clock_driven import neuron as _neuron

SURROGATES = {"ATan": surrogate.ATan, "Sigmoid": surrogate.Sigmoid}
TAKES: dict[str, Any] = {
    "v_threshold": 1.0, "v_reset": 0.0, "surrogate_function": "ATan", "alpha": 2.0, "detach_reset": False,
}  # fmt: skip


class _Named:
    """Arguments of the nodes: surrogate_function is "ATan" or "Sigmoid", and alpha its number. detach_input=True raises
    a ValueError.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        given = bound(type(self), args, kwargs)
        name, alpha = given.pop("surrogate_function"), given.pop("alpha")
        if name not in SURROGATES:
            raise ValueError(
                f"{type(self).__name__}: surrogate_function must be one of {list(SURROGATES)}, got {name!r}"
            )
        if given.pop("detach_input", False):
            raise ValueError(f"{type(self).__name__}: detach_input=True is not supported; use clock_driven.neuron")
        node: Any = next(c for c in type(self).__mro__ if c.__module__ == _neuron.__name__ and "takes" in vars(c))
        more = {"step_mode": "s"} if "step_mode" in node.takes else {}
        made = node(**given, **more, surrogate_function=SURROGATES[name](alpha))
        self.__dict__.update(made.__dict__)


class IFNode(_Named, _neuron.IFNode):
    takes = TAKES


class LIFNode(_Named, _neuron.LIFNode):
    takes = {"tau": 100.0, "detach_input": False, **TAKES}


class MultiStepIFNode(_Named, _neuron.MultiStepIFNode):
    takes = TAKES


class MultiStepLIFNode(_Named, _neuron.MultiStepLIFNode):
    takes = {"tau": 100.0, "detach_input": False, **TAKES}


class MultiStepParametricLIFNode(_Named, _neuron.MultiStepParametricLIFNode):
    takes = {"init_tau": 2.0, "detach_input": False, **TAKES}


__all__ = ["BaseNode", "IFNode", "LIFNode", "MultiStepIFNode", "MultiStepLIFNode", "MultiStepParametricLIFNode"]

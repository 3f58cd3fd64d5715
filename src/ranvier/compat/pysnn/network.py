"""PySNN's network: an nn.Module with a list of its layers, each a connection and the neuron behind it."""

from collections import OrderedDict
from typing import Any

from torch import nn

from ranvier.compat.pysnn.connection import Connection, Conv2d, Linear
from ranvier.compat.pysnn.neuron import BaseNeuron

TYPES = {Linear: "linear", Conv2d: "conv2d"}


class SNNNetwork(nn.Module):
    """Modules are attributes, as in torch; `add_layer` groups a connection with its neuron for the learning rules."""

    def __init__(self) -> None:
        super().__init__()
        self._layers: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def add_layer(self, name: str, connection: Connection, neuron: BaseNeuron) -> None:
        """Register a connection and the neuron behind it as a layer of this name. A name that exists already, is empty
        or contains a dot raises a KeyError.
        """
        if not isinstance(connection, Connection):
            raise TypeError(f"add_layer: {type(connection).__name__} is not a Connection")
        if not isinstance(neuron, BaseNeuron):
            raise TypeError(f"add_layer: {type(neuron).__name__} is not a BaseNeuron")
        if name in self._layers:
            raise KeyError(f"layer {name!r} exists already")
        if not name or "." in name:
            raise KeyError(f"the name of a layer must not be empty or contain a dot, got {name!r}")
        kind = next((t for cls, t in TYPES.items() if isinstance(connection, cls)), None)
        if kind is None:
            raise TypeError(
                f"add_layer: connection must be one of {[c.__name__ for c in TYPES]}, got {type(connection).__name__}"
            )
        self._layers[name] = {"connection": connection, "neuron": neuron, "type": kind}

    def reset_state(self) -> None:
        """Reset every module that has a state, in nested networks too."""
        for module in self.modules():
            if module is not self and not isinstance(module, SNNNetwork) and hasattr(module, "reset_state"):
                module.reset_state()  # type: ignore[operator]

    def layer_state_dict(self) -> OrderedDict[str, dict[str, Any]]:
        """Return {name: {"connection": state_dict, "neuron": state_dict, "type": name}}. The tensors are the network's
        own, not copies.

        Move or cast the network before you create learning rules from this dictionary: they keep its tensors.
        """
        return OrderedDict(
            (name, {k: v.state_dict() if isinstance(v, nn.Module) else v for k, v in layer.items()})
            for name, layer in self._layers.items()
        )

    def forward(self, *args: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

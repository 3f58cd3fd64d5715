"""SpikingJelly's monitors: they record values of the modules of a network."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Kinds = type | tuple[type, ...] | None


def unpack_len1_tuple(x: Any) -> Any:
    """Return the one element of a tuple of length 1; anything else is returned unchanged."""
    return x[0] if isinstance(x, tuple) and len(x) == 1 else x


class BaseMonitor:
    """Base class of monitors. `records`: all records in order; `monitor[name]`: the records of one module;
    `monitor[k]`: record k.

    It monitors the modules of the types in `instance`. With None, it monitors modules of the same class as the network.
    """

    def __init__(self, net: nn.Module | None = None, instance: Kinds = None):
        self.hooks: list[Any] = []
        self.monitored_layers: list[str] = []
        self.records: list[Any] = []
        self.name_records_index: dict[str, list[int]] = {}
        self._enabled = True
        kinds = type(net) if instance is None else instance
        for name, module in net.named_modules() if net is not None else ():
            if isinstance(module, kinds) and self._wants(module):
                self.monitored_layers.append(name)
                self.name_records_index[name] = []
                self.hooks.append(self._hook(name, module))

    def _wants(self, module: nn.Module) -> bool:
        return True

    def _hook(self, name: str, module: nn.Module) -> Any:
        raise NotImplementedError

    def _keep(self, name: str, value: Any) -> None:
        if self._enabled:
            self.name_records_index[name].append(len(self.records))
            self.records.append(value)

    def __getitem__(self, which: int | str) -> Any:
        if isinstance(which, int):
            return self.records[which]
        return [self.records[k] for k in self.name_records_index[which]]

    def clear_recorded_data(self) -> None:
        self.records.clear()
        for at in self.name_records_index.values():
            at.clear()

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def is_enable(self) -> bool:
        return self._enabled

    def remove_hooks(self) -> None:
        for hook in self.hooks:
            hook.remove()

    close = remove_hooks


def _same(x: Any) -> Any:
    return x


class OutputMonitor(BaseMonitor):
    """Records a function of the output of each monitored module.

    >>> import torch
    >>> from ranvier.compat.spikingjelly.activation_based import monitor, neuron
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), neuron.IFNode(step_mode="m"))
    >>> seen = monitor.OutputMonitor(net, neuron.IFNode, lambda spikes: spikes.shape)
    >>> _ = net(torch.rand(4, 1, 3))
    >>> seen.monitored_layers, seen["1"]
    (['1'], [torch.Size([4, 1, 2])])
    """

    def __init__(self, net: nn.Module, instance: Kinds = None, function_on_output: Callable = _same):
        self.function_on_output = function_on_output
        super().__init__(net, instance)

    def _hook(self, name: str, module: nn.Module) -> Any:
        return module.register_forward_hook(
            lambda m, x, y: self._keep(name, self.function_on_output(unpack_len1_tuple(y)))
        )


class InputMonitor(BaseMonitor):
    def __init__(self, net: nn.Module, instance: Kinds = None, function_on_input: Callable = _same):
        self.function_on_input = function_on_input
        super().__init__(net, instance)

    def _hook(self, name: str, module: nn.Module) -> Any:
        return module.register_forward_hook(
            lambda m, x, y: self._keep(name, self.function_on_input(unpack_len1_tuple(x)))
        )


class AttributeMonitor(BaseMonitor):
    """Records an attribute of each module before or after its forward pass."""

    def __init__(
        self,
        attribute_name: str,
        pre_forward: bool,
        net: nn.Module,
        instance: Kinds = None,
        function_on_attribute: Callable = _same,
    ):
        self.attribute_name, self.pre_forward = attribute_name, pre_forward
        self.function_on_attribute = function_on_attribute
        super().__init__(net, nn.Module if instance is None else instance)

    def _wants(self, module: nn.Module) -> bool:
        return hasattr(module, self.attribute_name)

    def _hook(self, name: str, module: nn.Module) -> Any:
        def keep(m: nn.Module, *rest: Any) -> None:
            self._keep(name, self.function_on_attribute(getattr(m, self.attribute_name)))

        return module.register_forward_pre_hook(keep) if self.pre_forward else module.register_forward_hook(keep)


class GradOutputMonitor(BaseMonitor):
    def __init__(self, net: nn.Module, instance: Kinds = None, function_on_grad_output: Callable = _same):
        self.function_on_grad_output = function_on_grad_output
        super().__init__(net, instance)

    def _hook(self, name: str, module: nn.Module) -> Any:
        return module.register_full_backward_hook(
            lambda m, into, out: self._keep(name, self.function_on_grad_output(unpack_len1_tuple(out)))
        )


class GradInputMonitor(BaseMonitor):
    def __init__(self, net: nn.Module, instance: Kinds = None, function_on_grad_input: Callable = _same):
        self.function_on_grad_input = function_on_grad_input
        super().__init__(net, instance)

    def _hook(self, name: str, module: nn.Module) -> Any:
        return module.register_full_backward_hook(
            lambda m, into, out: self._keep(name, self.function_on_grad_input(unpack_len1_tuple(into)))
        )


class Monitor:
    """The monitor of `clock_driven`: counts the spikes of the nodes of a network while it is enabled."""

    def __init__(self, net: nn.Module, device: str | None = None, backend: str = "numpy"):
        from ranvier.compat.spikingjelly.activation_based.neuron import BaseNode

        self.module_dict = {name: m for name, m in net.named_modules() if isinstance(m, BaseNode)}
        self._hooks: list[Any] = []
        self.reset()

    def reset(self) -> None:
        """Reset the counts."""
        self._spikes = dict.fromkeys(self.module_dict, 0.0)
        self._places = dict.fromkeys(self.module_dict, 0)
        self._fired: dict[str, Tensor] = {}

    def enable(self) -> None:
        for name, module in self.module_dict.items():
            self._hooks.append(module.register_forward_hook(partial(self._count, name)))

    def disable(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    @torch.no_grad()
    def _count(self, name: str, module: Any, given: Any, spikes: Tensor) -> None:
        self._spikes[name] += float(spikes.sum())
        self._places[name] += spikes.numel()
        fired = spikes.flatten(0, 1 if module.step_mode == "m" else 0).any(0)
        self._fired[name] = fired | self._fired[name] if name in self._fired else fired

    def get_avg_firing_rate(self, all: bool = True, module_name: str | None = None) -> Tensor:
        """Return the mean number of spikes per neuron, sample and step, of all nodes together or of one node."""
        names = list(self.module_dict) if all else [str(module_name)]
        return torch.tensor(sum(self._spikes[n] for n in names) / max(1, sum(self._places[n] for n in names)))

    def get_nonfire_ratio(self, all: bool = True, module_name: str | None = None) -> Tensor:
        """Return the share of neurons that never fired."""
        fired = [self._fired[n].flatten() for n in (list(self.module_dict) if all else [str(module_name)])]
        return 1.0 - torch.cat(fired).float().mean()

"""Recurrence around any module: the module runs step by step, and its output is part of its input at the next step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn import verbs
from ranvier.nn.temporal import Temporal, check_sequence


class _Returning(Temporal):
    """Base class: y[t] = module(join(y[t - 1], x[t])), y[-1] = 0. The state is the last output and the state of the
    module.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        if not isinstance(module, nn.Module):
            raise TypeError(f"{type(self).__name__}: the first argument must be a module, got {module!r}")
        self.module = module

    def join(self, y: Tensor, x_t: Tensor) -> Tensor:
        """Return the input of the module, computed from its last output y and x_t, both [B, *features]."""
        raise NotImplementedError

    def first(self, x: Tensor) -> Tensor:
        """Return the output before the first step."""
        raise NotImplementedError

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        y, inner = (self.first(x), None) if state is None else (state["y"].to(x.dtype), state["module"])
        steps = []
        for x_t in x.unbind(0):
            part, inner = verbs.scan_within(self, self.module, self.join(y, x_t).unsqueeze(0), inner)
            y = part[0]
            steps.append(y)
        if not steps:
            nothing = self.join(y, torch.zeros_like(x.sum(0))).unsqueeze(0)[:0]
            inner = verbs.scan_within(self, self.module, nothing, inner)[1]
        out = torch.stack(steps) if steps else x.new_empty(0, *y.shape)
        return out, {"y": y, "module": inner}, {n: out for n in names}

    def explain(self, x: Any) -> str:
        return "step by step"


class ElementwiseRecurrent(_Returning):
    """A module whose last output is combined with its input by a function.

    y[t] = module(function(y[t - 1], x[t])), with y[-1] = 0.

    x [T, B, *features] -> y of the same shape. module: any module, temporal or not. function: maps two tensors [B,
    *features], the last output and the input, to one. Fang et al., Deep residual learning in spiking neural networks,
    NeurIPS 2021.

    >>> import torch, ranvier
    >>> ranvier.ElementwiseRecurrent(ranvier.LIF(), torch.add)(torch.rand(5, 2, 3)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, module: nn.Module, function: Callable[[Tensor, Tensor], Tensor] = torch.add):
        super().__init__(module)
        self.function = function

    def join(self, y: Tensor, x_t: Tensor) -> Tensor:
        if y.shape != x_t.shape:
            raise ValueError(
                f"ElementwiseRecurrent: the module gives {tuple(y.shape)} but the input of a step is "
                f"{tuple(x_t.shape)}; both must have one shape, or take LinearRecurrent"
            )
        return self.function(y, x_t)

    def first(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x.sum(0))


class LinearRecurrent(_Returning):
    """A module whose last output is combined with its input by a linear map.

    y[t] = module(W [x[t], y[t - 1]] + b), with y[-1] = 0; W maps in_features + out_features numbers to in_features.

    x [T, B, in_features] -> y [T, B, out_features], the sizes of the module's input and output. Fang et al., NeurIPS
    2021.

    >>> import torch, ranvier
    >>> ranvier.LinearRecurrent(ranvier.LIF(), 3, 3)(torch.rand(5, 2, 3)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, module: nn.Module, in_features: int, out_features: int, bias: bool = True):
        super().__init__(module)
        self.in_features, self.out_features = in_features, out_features
        self.linear = nn.Linear(in_features + out_features, in_features, bias=bias)

    def join(self, y: Tensor, x_t: Tensor) -> Tensor:
        if x_t.shape[-1] != self.in_features or y.shape[-1] != self.out_features:
            raise ValueError(
                f"LinearRecurrent: wanted x [T, B, {self.in_features}] and a module that gives {self.out_features} "
                f"features, got a step of {tuple(x_t.shape)} and an output of {tuple(y.shape)}"
            )
        return self.linear(torch.cat([x_t, y], -1))

    def first(self, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[1:-1], self.out_features)

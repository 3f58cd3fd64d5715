"""Torch's layers with a step mode: in "m", time is folded into the batch."""

import inspect
from typing import Any

from torch import Tensor, nn

from ranvier.compat.spikingjelly.activation_based.base import StepModule
from ranvier.nn.fold import samples, sequence
from ranvier.nn.standardised import StandardisedConv2d, StandardisedLinear

LAYOUTS = {
    3: "[T, N, C]",
    4: "[T, N, C, L]",
    5: "[T, N, C, H, W]",
    6: "[T, N, C, D, H, W]",
}


class Stateless(StepModule):
    """Base class of torch layers with a further argument, `step_mode`, as the last one. The torch layer is the second
    base class; everything else is as in torch.

    ranks: the numbers of axes that a sequence may have in step mode "m"; not checked if empty.
    """

    ranks: tuple[int, ...] = ()

    def __init_subclass__(cls, ranks: tuple[int, ...] = (), **kwargs: Any):
        super().__init_subclass__(**kwargs)
        cls.ranks = ranks
        parent = next(c for c in cls.__mro__[1:] if not issubclass(c, StepModule))
        if "__init__" in vars(cls) or not issubclass(parent, nn.Module):
            return  # the class defines its own signature
        names = inspect.signature(parent).parameters
        own = [p for k, p in names.items() if k not in ("device", "dtype") and p.kind is p.POSITIONAL_OR_KEYWORD]
        step_mode = inspect.Parameter("step_mode", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="s")
        cls.__signature__ = inspect.Signature([*own, step_mode])

    def __init__(self, *arguments: Any, **given: Any):
        bound = type(self).__signature__.bind(*arguments, **given)  # type: ignore[attr-defined]
        step_mode = bound.arguments.pop("step_mode", "s")
        super().__init__(*bound.args, **bound.kwargs)
        self.step_mode = step_mode

    def forward(self, x: Tensor, *more: Any) -> Any:
        if self.step_mode == "s":
            return super().forward(x, *more)  # type: ignore[misc]
        if x.dim() < 2 or (self.ranks and x.dim() not in self.ranks):
            layouts = " or ".join(LAYOUTS[r] for r in self.ranks) or "[T, N, ...]"
            raise ValueError(f"{type(self).__name__}: expected x with shape {layouts}, but got {tuple(x.shape)}")
        return folded(super().forward, x, *more)  # type: ignore[misc]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, step_mode={self.step_mode}"  # type: ignore[misc]


def folded(module: Any, x: Any, *more: Any) -> Any:
    """Run a module on tensors [T, N, ...] with time folded into the batch, [T * N, ...]. Input and output may be tuples
    of tensors.
    """
    many = x if isinstance(x, (tuple, list)) else (x,)
    steps = many[0].shape[:2]
    for one in (*many, *more):
        if isinstance(one, Tensor) and one.shape[:2] != steps:
            raise ValueError(
                f"expected tensors with the same [T, N] = {tuple(steps)}, but got one with shape {tuple(one.shape)}"
            )
    y = module(*(samples(v) if isinstance(v, Tensor) else v for v in (*many, *more)))
    return tuple(sequence(v, steps) for v in y) if isinstance(y, tuple) else sequence(y, steps)


class Conv1d(Stateless, nn.Conv1d, ranks=(4,)): ...


class Conv2d(Stateless, nn.Conv2d, ranks=(5,)): ...


class Conv3d(Stateless, nn.Conv3d, ranks=(6,)): ...


class ConvTranspose1d(Stateless, nn.ConvTranspose1d, ranks=(4,)): ...


class ConvTranspose2d(Stateless, nn.ConvTranspose2d, ranks=(5,)): ...


class ConvTranspose3d(Stateless, nn.ConvTranspose3d, ranks=(6,)): ...


class BatchNorm1d(Stateless, nn.BatchNorm1d, ranks=(3, 4)): ...


class BatchNorm2d(Stateless, nn.BatchNorm2d, ranks=(5,)): ...


class BatchNorm3d(Stateless, nn.BatchNorm3d, ranks=(6,)): ...


class GroupNorm(Stateless, nn.GroupNorm): ...


class MaxPool1d(Stateless, nn.MaxPool1d, ranks=(4,)): ...


class MaxPool2d(Stateless, nn.MaxPool2d, ranks=(5,)): ...


class MaxPool3d(Stateless, nn.MaxPool3d, ranks=(6,)): ...


class AvgPool1d(Stateless, nn.AvgPool1d, ranks=(4,)): ...


class AvgPool2d(Stateless, nn.AvgPool2d, ranks=(5,)): ...


class AvgPool3d(Stateless, nn.AvgPool3d, ranks=(6,)): ...


class AdaptiveAvgPool1d(Stateless, nn.AdaptiveAvgPool1d, ranks=(4,)): ...


class AdaptiveAvgPool2d(Stateless, nn.AdaptiveAvgPool2d, ranks=(5,)): ...


class AdaptiveAvgPool3d(Stateless, nn.AdaptiveAvgPool3d, ranks=(6,)): ...


class Upsample(Stateless, nn.Upsample): ...


class Flatten(Stateless, nn.Flatten): ...


class _Unpool(Stateless):
    def forward(self, x: Tensor, indices: Tensor, output_size: Any = None) -> Any:  # type: ignore[override]
        if indices.shape != x.shape:
            raise ValueError(
                f"{type(self).__name__}: expected indices with the same shape as x {tuple(x.shape)}, but got "
                f"{tuple(indices.shape)}"
            )
        return super().forward(x, indices, output_size)


class MaxUnpool1d(_Unpool, nn.MaxUnpool1d, ranks=(4,)): ...


class MaxUnpool2d(_Unpool, nn.MaxUnpool2d, ranks=(5,)): ...


class MaxUnpool3d(_Unpool, nn.MaxUnpool3d, ranks=(6,)): ...


class Linear(Stateless, nn.Linear):
    """A linear layer; its input may have any leading axes, in both step modes."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return nn.Linear.forward(self, x)


class WSConv2d(Stateless, StandardisedConv2d, ranks=(5,)):
    """Weight-standardised convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        step_mode: str = "s",
        gain: bool = True,
        eps: float = 1e-4,
    ):
        StandardisedConv2d.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
            gain=gain, eps=eps,
        )  # fmt: skip
        self.step_mode = step_mode


class WSLinear(Stateless, StandardisedLinear):
    """Weight-standardised linear layer; its input may have any leading axes, in both step modes."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        step_mode: str = "s",
        gain: bool = True,
        eps: float = 1e-4,
    ):
        StandardisedLinear.__init__(self, in_features, out_features, bias, gain=gain, eps=eps)
        self.step_mode = step_mode

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return StandardisedLinear.forward(self, x)

"""SpikingJelly's containers: modules that run step by step, with time folded into the batch, or with feedback."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.spikingjelly.activation_based import functional
from ranvier.compat.spikingjelly.activation_based.base import Container, MemoryModule, MultiStepModule


def _single(container: nn.Module, *children: nn.Module) -> None:
    for child in children:
        if getattr(child, "step_mode", "s") != "s":
            raise ValueError(
                f'{type(container).__name__}: {type(child).__name__} has step_mode "{child.step_mode}"; the modules of '
                f'a container must have "s"'
            )


class MultiStepContainer(Container, MultiStepModule, nn.Sequential):
    """Layers that run a sequence x [T, N, ...] step by step."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        _single(self, *self)

    def forward(self, x_seq: Tensor) -> Tensor:  # type: ignore[override]
        return functional.multi_step_forward(x_seq, super().forward)


class SeqToANNContainer(Container, MultiStepModule, nn.Sequential):
    """Layers without memory that run all steps of x [T, N, ...] at once, with time folded into the batch."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        _single(self, *self)

    def forward(self, x_seq: Any) -> Any:  # type: ignore[override]
        return functional.seq_to_ann_forward(x_seq, super().forward)


class TLastMultiStepContainer(Container, MultiStepModule, nn.Sequential):
    """`MultiStepContainer` for x [N, ..., T]."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        _single(self, *self)

    def forward(self, x_seq: Tensor) -> Tensor:  # type: ignore[override]
        return functional.t_last_multi_step_forward(x_seq, super().forward)


class TLastSeqToANNContainer(Container, MultiStepModule, nn.Sequential):
    """`SeqToANNContainer` for x [N, ..., T]."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        _single(self, *self)

    def forward(self, x_seq: Tensor) -> Tensor:  # type: ignore[override]
        return functional.t_last_seq_to_ann_forward(x_seq, super().forward)


class StepModeContainer(Container, nn.Sequential):
    """Layers that run one step in mode "s". In mode "m" they run step by step if they have a memory (stateful=True);
    otherwise time is folded into the batch.
    """

    def __init__(self, stateful: bool, *args: Any, step_mode: str = "s"):
        super().__init__(*args)
        if not isinstance(stateful, bool):
            raise ValueError(f"StepModeContainer: the first argument, stateful, must be a bool, got {stateful!r}")
        _single(self, *self)
        self.stateful, self.step_mode = stateful, step_mode

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        if self.step_mode == "s":
            return super().forward(x)
        run = functional.multi_step_forward if self.stateful else functional.seq_to_ann_forward
        return run(x, super().forward)


class _Returning(Container, MemoryModule):
    """Base class of containers that store their last output as a memory."""

    def __init__(self, sub_module: nn.Module, step_mode: str):
        super().__init__(step_mode)
        _single(self, sub_module)
        self.sub_module = sub_module
        self.register_memory("y", None)

    def _checked(self, wanted: Any) -> None:
        if self.y is not None and self.y.shape != wanted:
            raise ValueError(
                f"{type(self).__name__}: its last output is {tuple(self.y.shape)} but this step needs {tuple(wanted)}; "
                f"call reset() before a new batch"
            )


class ElementWiseRecurrentContainer(_Returning):
    """y[t] = sub_module(element_wise_function(y[t - 1], x[t])), y[-1] = 0."""

    def __init__(self, sub_module: nn.Module, element_wise_function: Callable, step_mode: str = "s"):
        super().__init__(sub_module, step_mode)
        self.element_wise_function = element_wise_function

    def single_step_forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self._checked(x.shape)
        y = torch.zeros_like(x) if self.y is None else self.y
        self.y = self.sub_module(self.element_wise_function(y, x))
        return self.y


class LinearRecurrentContainer(_Returning):
    """y[t] = sub_module(rc([x[t], y[t - 1]])), y[-1] = 0; rc is a linear map from in + out to in features."""

    def __init__(
        self, sub_module: nn.Module, in_features: int, out_features: int, bias: bool = True, step_mode: str = "s"
    ):
        super().__init__(sub_module, step_mode)
        self.out_features = out_features
        self.rc = nn.Linear(in_features + out_features, in_features, bias)

    def single_step_forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        shape = (*x.shape[:-1], self.out_features)
        self._checked(shape)
        y = x.new_zeros(shape) if self.y is None else self.y
        self.y = self.sub_module(self.rc(torch.cat((x, y), -1)))
        return self.y

"""pytorch-spiking's layers as functions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ranvier.compat.pytorch_spiking import modules


def spiking_activation(
    inputs: Tensor,
    activation: Callable[[Tensor], Tensor],
    dt: float = 0.001,
    initial_state: Tensor | None = None,
    spiking_aware_training: bool = True,
    return_sequences: bool = False,
    training: bool = False,
) -> Tensor:
    """`SpikingActivation` as a function; `return_sequences` is False by default, as published."""
    layer: Any = modules.SpikingActivation(activation, dt, initial_state, spiking_aware_training, return_sequences)
    layer.training = training  # for the layer only: the activation keeps its own mode
    return layer(inputs)


class SpikingActivation(torch.autograd.Function):
    """`SpikingActivation.apply(inputs, activation, ...)` is `spiking_activation`.

    Subclasses may use `forward` and `backward`; these compute the gradient of the inputs only.
    """

    apply = staticmethod(spiking_activation)  # type: ignore[assignment]

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        inputs: Tensor,
        activation: Callable[[Tensor], Tensor],
        dt: float = 0.001,
        initial_state: Tensor | None = None,
        spiking_aware_training: bool = True,
        return_sequences: bool = False,
        training: bool = False,
    ) -> Tensor:
        how = dt, initial_state, spiking_aware_training, return_sequences, training
        with torch.enable_grad():
            x = inputs.detach().requires_grad_()
            y = spiking_activation(x, activation, *how)
        ctx.inputs, ctx.outputs = x, y
        return y.detach()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple:  # type: ignore[override]
        (gradient,) = torch.autograd.grad(ctx.outputs, ctx.inputs, grad_output, retain_graph=True)
        return gradient, *[None] * 6

"""A sequence of layers."""

from typing import Any

from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.nn.fold import Fold, fold, folded, still, temporal
from ranvier.nn.plan import Plan, Stage
from ranvier.nn.stage_convolution import ConvolutionStage
from ranvier.nn.stage_gpu import GpuConvolutionStage, GpuLinearStage
from ranvier.nn.stage_linear import LinearStage
from ranvier.nn.stage_norm import NormStage
from ranvier.nn.temporal import here

__all__ = ["Fold", "Sequential", "fold"]

STAGES = (ConvolutionStage, LinearStage, NormStage)  # kinds of stages on the CPU, tried in this order
KINDS: dict[str, tuple[type[Stage], ...]] = {"numba": STAGES, "triton": (GpuConvolutionStage, GpuLinearStage)}
REFUSALS = TypeError, ValueError, RuntimeError, IndexError


class Sequential(nn.Sequential):
    """A sequence of layers, for x [T, B, *features]. Modules that are not temporal are applied to each step.

    >>> import torch, ranvier
    >>> from torch import nn
    >>> net = ranvier.Sequential(nn.Conv2d(1, 4, 3), ranvier.LIF(), nn.Flatten(), nn.LazyLinear(10), ranvier.LI())
    >>> net(torch.rand(5, 2, 1, 8, 8)).shape
    torch.Size([5, 2, 10])
    """

    _plan: tuple[Plan, tuple] | None = None

    def plan(self, kinds: tuple[type[Stage], ...] = STAGES) -> Plan:
        """Return the plan for the current layers, with stages of these kinds."""
        layers, (plan, made) = tuple(self._modules.values()), self._plan or (None, ())
        if plan is None or made != kinds or not plan.holds(layers):  # type: ignore[arg-type]
            plan = Plan.of(layers, kinds)  # type: ignore[arg-type]
            object.__setattr__(self, "_plan", (plan, kinds))
        return plan

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_plan"}

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        at, constant, done = 0, still(x), 0
        for part in self._parts(x):
            layers = part.layers if isinstance(part, Stage) else (part,)
            if done:  # already run, together with an earlier stage
                done -= 1
            elif isinstance(part, Stage) and not (constant and part.folds) and (found := _through(part, x, at)):
                x, constant, done = found[0], False, found[1] - 1
            else:
                for k, layer in enumerate(layers):
                    x, constant = _alone(layer, x, constant, at + k)
            at += len(layers)
        return x

    def _parts(self, x: Any) -> tuple[Stage | nn.Module, ...]:
        """Return the parts that x goes through. They contain stages only if x is a tensor that stages support, and no
        layer is watched (has hooks).
        """
        kinds = KINDS.get(choose.stages(x) or "") if isinstance(x, Tensor) else None
        return tuple(self) if kinds is None else self.plan(kinds).parts


def _through(stage: Stage, x: Any, at: int) -> tuple[Any, int] | None:
    """Run a stage, and possibly the stages after it; return the output and the number of stages, as `Stage.several`
    does.
    """
    try:
        if watch := getattr(here, "watch", None):
            with watch(stage):  # one stage at a time
                return (stage(x), 1) if stage.serves(x) else None
        return stage.several(x, getattr(here, "book", None))
    except REFUSALS as problem:
        raise _named(problem, at, *stage.layers) from problem


def _alone(layer: nn.Module, x: Any, constant: bool, at: int) -> tuple[Any, bool]:
    """Run a single layer; also return whether its output is the same at all steps."""
    try:
        return (layer(x), False) if temporal(layer) else folded(layer, x, constant)
    except REFUSALS as problem:
        raise _named(problem, at, layer) from problem


def _named(problem: Exception, at: int, *layers: nn.Module) -> Exception:
    """Return the same error, with the names of the layers in which it happened."""
    if type(problem) not in REFUSALS:
        return problem
    place = f"layer {at}" if len(layers) == 1 else f"layers {at} to {at + len(layers) - 1}"
    return type(problem)(f"{place} ({', '.join(type(layer).__name__ for layer in layers)}): {problem}")

"""Try a recipe with one batch before its run begins: if something does not fit, the error is one sentence, and no
folder is made.
"""

import re
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parameter import is_lazy

from ranvier.recipes.given import Given
from ranvier.recipes.recipe import Recipe, settings
from ranvier.train.answer import answer
from ranvier.train.engine import new_net

PATH = r"((?:layers? [^:]*: )*)(.*)"  # the path of a layer, which `Sequential` writes before the reason
# Settings that cannot be the reason why a network does not fit its data.
HARMLESS = {"epochs", "batch", "seed", "lr", "weight_decay", "smoothing"}


def tried(plan: Recipe, batch: tuple[Any, ...]) -> nn.Module:
    """Return a new network, after a test of the network, its loss and its metric with one batch (x, labels) or
    (x, labels, lengths).

    If one of them fails, a ValueError names the layer, its input, and the settings that were changed.
    """
    sample = batch[0].narrow(1 if plan.time_first else 0, 0, 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # they raise an error below
            net = new_net(plan, sample)
        if empty := [name for name, w in net.named_parameters() if not is_lazy(w) and not w.numel()]:
            raise ValueError(f"{', '.join(empty)} would have no elements")
    except NotImplementedError as error:  # the recipe has no method `build`
        raise ValueError(f"{plan.name}: {error}") from error
    except Exception as error:  # layers raise many kinds of errors if sizes do not fit
        path, reason = re.match(PATH, str(error), re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]
        told = f"{path}{_place(plan, sample)}{reason}"
        raise ValueError(f"{plan.name}: the net does not work with {_changed(plan)}: {told}") from error
    what, hint = "net", ""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            x = plan.encode(batch[0], torch.Generator().manual_seed(0))
            traces, rest = answer(net.eval(), x, *batch[1:])
            if not isinstance(traces, Tensor):
                raise TypeError(f"it must return traces [T, B, C], got a {type(traces).__name__}")
            what, hint = "loss", _hint(plan, traces, rest)
            value = plan.loss()(traces, *rest)
            if value.ndim:
                raise ValueError(f"a loss must be one number, got {list(value.shape)}")
            what = "metric"
            if plan.metric() is not None:
                plan.metric()(traces, *rest)
    except Exception as error:
        on = "these" if what == "net" else "this net and"
        raise ValueError(f"{plan.name}: the {what} does not work with {on} data: {error}{hint}") from error
    return net.train()


def _hint(plan: Recipe, traces: Tensor, rest: tuple[Tensor, ...]) -> str:
    """Return the end of an error message for a loss or a metric that fails: what it got, or what to pass instead."""
    if not isinstance(plan, Given):
        return ""
    if rest[0].is_floating_point() and plan.score == "accuracy":
        return "; where labels are no classes, pass a loss of your own and metric=None"
    lengths = " and lengths" * (len(rest) > 1)
    return f"; it got traces [T, B, C] of {list(traces.shape)}, labels of {list(rest[0].shape)}{lengths}"


def _changed(plan: Recipe) -> str:
    """Return the settings that differ from the recipe's own, as part of a sentence."""
    try:
        usual = settings(type(plan)())
    except Exception:  # this recipe needs arguments
        usual = settings(plan)
    changed = {k: v for k, v in settings(plan).items() if k not in HARMLESS and v != usual.get(k)}
    return ", ".join(f"{name}={value}" for name, value in changed.items()) or "these settings and data"


def _place(plan: Recipe, sample: Tensor) -> str:
    """Return the innermost layer that failed and the shape of its input, "" if the failure was not in a layer."""
    within: list[tuple[nn.Module, Any]] = []
    hooks = [
        register_module_forward_pre_hook(lambda layer, inputs: within.append((layer, inputs))),
        register_module_forward_hook(lambda *_: within.pop() and None),
    ]
    try:
        with warnings.catch_warnings(action="ignore"):
            new_net(plan, sample)
    except Exception:
        if not within:
            return ""
        layer, inputs = within[-1]
        shapes = ", ".join(str(list(x.shape)) for x in inputs if isinstance(x, Tensor))
        told = type(layer).__name__ if list(layer.children()) else str(layer)
        return f"{told} got an input of {shapes}: " if shapes else f"{told}: "
    finally:
        for hook in hooks:
            hook.remove()
    return ""

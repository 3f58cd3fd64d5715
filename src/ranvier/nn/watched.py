"""Find modules to which a user attached hooks or methods. Such a module must run alone, as torch would run it, and not
within a stage.
"""

from collections.abc import Sequence

from torch import nn
from torch.nn.modules import module as torch_module

HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
GLOBAL_HOOKS = [getattr(torch_module, f"_global{name}") for name in HOOKS]


def watched(module: nn.Module) -> bool:
    """Whether this module has hooks, or a `forward` or `run` that is set on the instance, as by profilers and
    offloaders.
    """
    own = module.__dict__
    before, after = own["_forward_pre_hooks"], own["_forward_hooks"]
    return bool(
        "forward" in own or "run" in own or before or after or own["_backward_hooks"] or own["_backward_pre_hooks"]
    )


def watching(modules: Sequence[nn.Module]) -> list[bool]:
    """Return for each module whether it is watched, by its own hooks or by global hooks."""
    return [True] * len(modules) if all_watched() else [watched(module) for module in modules]


def all_watched() -> bool:
    """Whether there are global hooks, which torch calls for every module."""
    return any(GLOBAL_HOOKS)

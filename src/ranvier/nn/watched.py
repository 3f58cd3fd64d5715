"""Whether somebody looks at a module: then it runs by itself, as torch would run it."""

from torch import nn
from torch.nn.modules import module as torch_module

HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
GLOBAL_HOOKS = [getattr(torch_module, f"_global{name}") for name in HOOKS]


def watched(module: nn.Module) -> bool:
    """Whether it has hooks, or a `forward` or `run` of its own (as profilers and offloaders give it)."""
    own = module.__dict__
    before, after = own["_forward_pre_hooks"], own["_forward_hooks"]
    return bool(
        "forward" in own or "run" in own or before or after or own["_backward_hooks"] or own["_backward_pre_hooks"]
    )


def all_watched() -> bool:
    """Whether there are hooks for every module."""
    return any(GLOBAL_HOOKS)

"""Values that replace a JAX key."""

import torch

Key = torch.Generator | int | None


def generator(key: Key) -> torch.Generator | None:
    """Return a torch generator for a generator or a seed. None means torch's global generator."""
    if key is None or isinstance(key, torch.Generator):
        return key
    if isinstance(key, int):
        return torch.Generator().manual_seed(key)
    raise TypeError(f"a key must be a torch.Generator, a whole number or None, got {type(key).__name__}")

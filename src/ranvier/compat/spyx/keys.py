"""Values in place of a JAX key."""

import torch

Key = torch.Generator | int | None


def generator(key: Key) -> torch.Generator | None:
    """A torch generator from itself, from a seed, or None for torch's own."""
    if key is None or isinstance(key, torch.Generator):
        return key
    if isinstance(key, int):
        return torch.Generator().manual_seed(key)
    raise TypeError(f"a key is a torch.Generator, a whole number or None here, got {type(key).__name__}")

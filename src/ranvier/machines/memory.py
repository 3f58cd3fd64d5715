"""Memory that is cheap to touch: huge pages for large results, scratch that is used again."""

import ctypes
import math
import mmap
import sys
import threading
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

_HUGE = 2 << 20  # bytes of a huge page
_local = threading.local()


@cache
def _madvise():
    if not sys.platform.startswith("linux") or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    try:
        function = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised CPU tensor; a large one asks for huge pages before its first touch.

    The first touch of 4 KiB costs as much as a kernel takes to fill it; with pages of 2 MiB it costs a fifth.
    """
    out = torch.empty(shape, dtype=dtype)
    size = out.numel() * out.element_size()
    if size >= 2 * _HUGE and (advise := _madvise()):
        first = -(-out.data_ptr() // _HUGE) * _HUGE
        last = (out.data_ptr() + size) // _HUGE * _HUGE
        if last > first:
            advise(first, last - first, mmap.MADV_HUGEPAGE)
    return out


def scratch(name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor of this thread, with anything in it, valid until the next call with the same name and dtype."""
    kept: dict = _local.__dict__
    size = math.prod(shape)
    held = kept.get((name, dtype))
    if held is None or held.numel() < size:
        held = kept[name, dtype] = torch.empty(size, dtype=dtype)
    return held[:size].view(*shape)

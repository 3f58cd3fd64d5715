"""Memory for large results, which is reused after they are freed.

The operating system allocates fresh memory page by page, when a page is first written to; this takes longer than the
kernel that fills the page. When a large tensor is freed, its memory goes back to the system, so every training step
would pay this cost again. Here the memory of a freed large tensor is kept, and the next result of that size uses it.
"""

import math
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 20  # least size in bytes of a result that uses a buffer; the C library mostly reuses smaller memory
KEPT = 512 << 20  # most bytes that are kept for later results

_OF_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64}
_OF_TORCH = {np.dtype(np.int32): torch.int32} | {np.dtype(real): dtype for dtype, real in _OF_NUMPY.items()}
SMALL = 1 << 14  # number of elements below which the C library reuses memory without a call to the system

_local = threading.local()
_lock = threading.Lock()
_waiting: OrderedDict[int, list[np.ndarray]] = OrderedDict()  # size -> free buffers; the oldest size comes first
_returned: deque[tuple[int, np.ndarray]] = deque()  # not yet in _waiting: tensors can be freed while it is locked


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return an uninitialised CPU tensor. A large one uses a free buffer if there is one of its size."""
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE or _poisoned():
        return torch.empty(shape, dtype=dtype, device="cpu")
    with _lock:
        _sort_in()
        buffers = _waiting.get(size)
        buffer = buffers.pop() if buffers else None
    if buffer is None:
        buffer = np.empty(size + 64, np.uint8)  # numpy requests huge pages from the system
    start = -buffer.ctypes.data % 64
    lent = buffer[start : start + size]
    if dtype in _OF_NUMPY:
        lent = lent.view(_OF_NUMPY[dtype]).reshape(shape)
    weakref.finalize(lent, _take_back, size, buffer).atexit = False  # `lent` is freed with the tensor
    x = torch.from_numpy(lent)  # torch does not see it as a view, so it may be changed in place
    return x if dtype in _OF_NUMPY else torch.ops.aten._unsafe_view(x.view(dtype), shape)


def _poisoned() -> bool:
    """Whether torch is set to fill new memory, so that no result depends on its old content."""
    return torch.are_deterministic_algorithms_enabled() and torch.utils.deterministic.fill_uninitialized_memory  # type: ignore


def empty_like(x: Tensor) -> Tensor:
    """Return an uninitialised tensor like x, with its axes in the same order in memory. A CPU tensor is allocated by
    `empty`.
    """
    if x.device.type != "cpu":
        return torch.empty_like(x)
    order = sorted(range(x.dim()), key=lambda axis: -x.stride(axis))
    return empty([x.shape[axis] for axis in order], x.dtype).permute([order.index(axis) for axis in range(x.dim())])


def contiguous(x: Tensor) -> Tensor:
    """Return x if it is contiguous, otherwise a contiguous copy; on the CPU the copy is allocated by `empty`."""
    if x.is_contiguous() or x.device.type != "cpu":
        return x.contiguous()
    return empty(x.shape, x.dtype).copy_(x)


def _take_back(size: int, buffer: np.ndarray) -> None:
    """Take back the buffer of a freed tensor. Python may call this at any moment, even while this thread holds the
    lock.
    """
    _returned.append((size, buffer))
    if _lock.acquire(blocking=False):
        try:
            _sort_in()
        finally:
            _lock.release()


def _sort_in() -> None:
    """Move returned buffers to `_waiting`, and free the oldest ones if together they exceed KEPT bytes."""
    while _returned:
        size, buffer = _returned.popleft()
        _waiting.setdefault(size, []).append(buffer)
        _waiting.move_to_end(size)
        while sum(k * len(v) for k, v in _waiting.items()) > KEPT:
            oldest = next(iter(_waiting))
            _waiting[oldest].pop()
            if not _waiting[oldest]:
                del _waiting[oldest]


def scratch(name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return an uninitialised tensor that belongs to this thread. It is valid until the thread's next call with the
    same name and dtype.
    """
    kept: dict = _local.__dict__
    size = math.prod(shape)
    held = kept.get((name, dtype))
    if held is None or held.numel() < size:
        with torch.inference_mode(False):  # else it could not be changed outside of inference mode
            held = kept[name, dtype] = torch.empty(size, dtype=dtype, device="cpu")
    return held[:size].view(*shape)


def room(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array like `scratch`; a small array is newly allocated, which is faster."""
    if math.prod(shape) < SMALL:
        return np.empty(shape, dtype)
    return scratch(name, shape, _OF_TORCH[dtype]).numpy()

"""Recordings of different lengths in one batch. The padding after the end of each recording has no effect."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ranvier.nn.length import Whole
from ranvier.nn.norm import TemporalBatchNorm, ThroughTime
from ranvier.nn.temporal import here


def lengths_of(x: Tensor) -> Tensor:
    """Return the number of steps of each recording: x `[T, B, *features]`, NaN after the end of each -> `[B]` int64.

    Raises ValueError for a recording without a step, or with NaN before its end.

    >>> lengths_of(torch.tensor([[1.0, 2.0], [3.0, torch.nan]]).unsqueeze(-1))
    tensor([2, 1])
    """
    there = ~x.isnan().flatten(2).any(2)
    lengths = there.sum(0)
    if not torch.compiler.is_compiling() and x.numel():
        if not torch.equal(there, within(lengths, len(x))):
            b = int((there != within(lengths, len(x))).any(0).nonzero()[0])
            raise ValueError(f"recording {b} has NaN before its end; NaN marks the steps after the end")
        if not bool(lengths.all()):
            raise ValueError(f"recording {int((lengths == 0).nonzero()[0])} has no step: its first value is NaN")
    return lengths


def ends(net: nn.Module, x: Any) -> Tensor | None:
    """Return the lengths `[B]` of the recordings in x that a `Padded` network reads from NaN; otherwise None."""
    if not isinstance(net, Padded) or not isinstance(x, Tensor) or not bool(x.isnan().any()):
        return None
    return lengths_of(x)


def within(lengths: Tensor, steps: int) -> Tensor:
    """Return the valid steps, those before the end of each recording: lengths `[B]` -> `[T, B]` bool."""
    return torch.arange(steps, device=lengths.device).unsqueeze(1) < lengths


def only(valid: Tensor, x: Tensor, otherwise: float = 0.0) -> Tensor:
    """Return x `[T, B, *features]` at valid steps (`valid` `[T, B]`), and the number `otherwise` at all other steps."""
    return torch.where(valid.view(*valid.shape, *[1] * (x.dim() - 2)), x, otherwise)


def padded(net: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
    """Run a network on recordings of different lengths: x `[T, B, *features]`, lengths `[B]` in steps -> y `[T, B,
    *features']`, which is 0 after the end of each recording.

    Values of x after the end, also NaN, have no effect. Batch norms use only the valid steps, so outputs, gradients and
    statistics are those of the recordings without padding. A layer that mixes all steps (`PSN`, temporal attention)
    raises an error if lengths differ, because it cannot run a shorter recording. `scan` and `step` raise an error too,
    because their state would include the padding. If you write a module that uses the last steps of x, it must handle
    the lengths itself.

    >>> import ranvier
    >>> net = ranvier.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), ranvier.LIF())
    >>> padded(net, torch.rand(9, 2, 3), torch.tensor([9, 5]))[5:, 1].abs().sum()
    tensor(0., grad_fn=<SumBackward0>)
    """
    return _padded(net, x, lengths, 0.0)


def _padded(net: nn.Module, x: Tensor, lengths: Tensor, otherwise: float) -> Tensor:
    with masked(net, x, lengths) as shown:
        y = net(shown)
    valid = within(lengths.to(x.device), len(x))
    if not isinstance(y, Tensor) or y.shape[:2] != valid.shape:
        got = list(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(
            f"padded: the net must return [T, B, *features] = {list(valid.shape)} and more, got {got}; "
            f"one that sums over time itself must use the lengths: def forward(self, x, lengths=None)"
        )
    return only(valid, y, otherwise)


def heeds_lengths(called: Callable) -> bool:
    """Whether a network, a loss or a metric handles the lengths itself: it has the argument `lengths`, as in
    `forward(self, x, lengths=None)`.
    """
    try:
        named = inspect.signature(called.forward if isinstance(called, nn.Module) else called)
        return "lengths" in named.parameters
    except (ValueError, TypeError):  # a scripted module has no signature
        return False


@contextmanager
def masked(net: nn.Module, x: Tensor, lengths: Tensor | None) -> Iterator[Tensor]:
    """Within this block, `net` uses the lengths of the recordings in x `[T, B, *features]`. lengths: `[B]`, or None if
    all have T steps.

    Yields x with 0 after the end of each recording, as the input for one call of the network or of a function such as
    `record`.

    >>> import ranvier
    >>> net = ranvier.Sequential(nn.BatchNorm1d(3), ranvier.LIF())
    >>> with masked(net, torch.rand(9, 2, 3), torch.tensor([9, 5])) as x:
    ...     ranvier.record(net, x, "v")["1"].shape
    torch.Size([9, 2, 3])
    """
    if lengths is None:
        yield x
        return
    _check(net, x, lengths)
    valid = within(lengths.to(x.device), len(x))
    if heeds_lengths(net):
        with ExitStack() as undo:
            net.forward = partial(net.forward, lengths=lengths)
            undo.callback(delattr, net, "forward")
            yield x
        return
    if isinstance(net, Padded):  # it computes the lengths itself
        yield only(valid, x, torch.nan)
        return
    with known(net, valid):
        yield only(valid, x)


@contextmanager
def known(net: nn.Module, valid: Tensor) -> Iterator[None]:
    """Within this block, the batch norms of `net` use only the valid steps (`valid` [T, B]) of their input. Raise an
    error for layers that cannot run padded recordings.
    """
    if bool(valid.all()):
        yield
        return
    _refuse_what_looks_back(net, valid)
    with _watched(net, valid):
        yield


class Padded(nn.Module):
    """A network for recordings of different lengths, which are padded with NaN after their end.

    x `[T, B, *features]` -> y `[T, B, *features']`, NaN where x is NaN; see `padded`. `lengths_of(y)` returns the
    lengths, for losses and metrics.

    >>> import ranvier
    >>> x = torch.rand(5, 2, 3)
    >>> x[4:, 1] = torch.nan
    >>> lengths_of(Padded(ranvier.Sequential(nn.Linear(3, 4), ranvier.LI()))(x))
    tensor([5, 4])
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return _padded(self.net, x, lengths_of(x), torch.nan)


def _check(net: nn.Module, x: Any, lengths: Any) -> None:
    if not isinstance(x, Tensor) or x.dim() < 3 or not isinstance(lengths, Tensor) or lengths.shape != x.shape[1:2]:
        shapes = [list(v.shape) if isinstance(v, Tensor) else type(v).__name__ for v in (x, lengths)]
        raise ValueError(f"padded: wanted x [T, B, *features] and lengths [B], got {shapes[0]} and {shapes[1]}")
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise TypeError(f"padded: lengths must be whole numbers, got {lengths.dtype}")
    if not lengths.numel():
        return
    low, high = (int(v) for v in lengths.aminmax())
    if low < 1 or high > len(x):
        raise ValueError(f"padded: lengths must lie in [1, {len(x)}], got {low} to {high}")
    book = getattr(here, "book", None)
    if book is not None and not book.names and book.notes is None:  # `explain` returns no state
        raise ValueError(
            "padded: a state would include the padding; scan, step or stream the network itself (in `Padded`: "
            "`net.net`) on recordings without padding"
        )


def _refuse_what_looks_back(net: nn.Module, valid: Tensor) -> None:
    for path, module in net.named_modules():
        if isinstance(module, Whole):
            raise ValueError(
                f"padded: layer {path!r} ({type(module).__name__}) mixes all {len(valid)} steps and cannot run a "
                f"recording of {int(valid.sum(0).min())}; give it recordings of one length"
            )
        if isinstance(module, nn.RNNBase) and module.bidirectional:
            raise ValueError(
                f"padded: layer {path!r} ({type(module).__name__}) runs backward from the last step, through the "
                f"padding of shorter recordings; give it recordings of one length"
            )
        if isinstance(module, Padded) and path:
            raise ValueError(
                f"padded: layer {path!r} is Padded and computes the lengths itself; leave out either lengths or Padded"
            )


@contextmanager
def _watched(net: nn.Module, valid: Tensor) -> Iterator[None]:
    """Within this block, the batch norms of `net` use only the valid steps (`valid` [T, B]). Norms that use running
    statistics are left alone, since padding does not change what they compute for other steps; so several threads can
    evaluate one network at once.
    """
    with ExitStack() as undo:
        left = {m for m in net.modules() if isinstance(m, _BatchNorm) and not _of_batch(m)}
        for module in net.modules():
            if isinstance(module, ThroughTime):
                for norm, there in zip(module.norms, valid, strict=False):
                    if norm not in left:
                        _watch(norm, there, undo)
                left |= set(module.norms)
            elif module in left:
                continue
            elif isinstance(module, TemporalBatchNorm):
                _watch_temporal(module, valid, undo)
            elif isinstance(module, _BatchNorm):
                _watch(module, valid.flatten(), undo)
        yield


def _of_batch(norm: _BatchNorm) -> bool:
    """Whether a norm computes the statistics of its input, in training or because it keeps none."""
    return norm.training or norm.running_mean is None


def _watch(norm: nn.Module, valid: Tensor, undo: ExitStack) -> None:
    """Add hooks to a batch norm: it gets only the valid samples (`valid` [N]), and its output is 0 for all others."""

    def take(module: nn.Module, given: tuple) -> Tensor:
        if len(given[0]) != len(valid):
            raise ValueError(
                f"padded: {type(module).__name__} got {len(given[0])} samples for {len(valid)} steps of all "
                f"recordings; the net must keep the axes [T, B] up to its batch norms"
            )
        return given[0][valid]

    def put(module: nn.Module, given: tuple, y: Tensor) -> Tensor:
        return _back(y, valid)

    undo.callback(norm.register_forward_pre_hook(take).remove)
    undo.callback(norm.register_forward_hook(put).remove)


def _watch_temporal(norm: TemporalBatchNorm, valid: Tensor, undo: ExitStack) -> None:
    """Change a batch norm of sequences x [T, B, C, ...] in the same way, until the block ends: it gets only the valid
    steps (`valid` [T, B]).
    """
    whole = norm.normalise
    norm.normalise = lambda x: _back(whole(x[valid].unsqueeze(1)).squeeze(1), valid)  # type: ignore[method-assign]
    undo.callback(delattr, norm, "normalise")


def _back(y: Tensor, valid: Tensor) -> Tensor:
    return y.new_zeros(*valid.shape, *y.shape[1:]).index_put((valid,), y)

"""A network that is captured as CUDA graphs."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ranvier.nn.watched import all_watched, watched

MODES = {True: "training", False: "evaluation"}


class Graphed:
    """The result of `ranvier.graphed`: a captured network, which is called like the network."""

    def __init__(self, net: nn.Module, x: Tensor):
        self.net, self.training = net, net.training
        self.like = x.shape, x.dtype, x.device, x.requires_grad
        whole = _Whole(net)  # torch changes the module that it captures, so a wrapper is captured
        before = [(b, b.clone()) for b in net.buffers()]  # warm-up runs update statistics
        try:
            self._run = torch.cuda.make_graphed_callables(whole, (x,), allow_unused_input=True)
        except RuntimeError as problem:
            raise RuntimeError(
                f"graphed: {type(net).__name__} cannot be captured: a layer waits for a number on the host, or its "
                f"work differs from call to call ({str(problem).splitlines()[0]}). Leave that layer out, or call the "
                f"network directly"
            ) from problem
        finally:
            with torch.no_grad():
                for buffer, value in before:
                    buffer.copy_(value)

    def __call__(self, x: Tensor) -> Any:
        if not isinstance(x, Tensor):
            raise TypeError(f"graphed: x must be a tensor, got {type(x).__name__}")
        got = x.shape, x.dtype, x.device, x.requires_grad
        if got != self.like:
            raise ValueError(
                f"graphed: it was captured for x {_said(*self.like)}, got {_said(*got)}; a graph runs only "
                f"inputs of one kind: call the network directly, or capture another graph"
            )
        if self.net.training is not self.training:
            was, now = (MODES[v] for v in (self.training, self.net.training))
            raise ValueError(f"graphed: it was captured in {was} and the network is in {now}; capture another graph")
        y: Any = self._run(x)
        if isinstance(y, Tensor):
            return y.clone()  # the next call of the graph overwrites this memory
        return tuple(one.clone() for one in y)


def graphed(net: nn.Module, x: Tensor) -> Graphed:
    """Capture the network for inputs like x as CUDA graphs: its forward pass is one launch, its backward pass another.

    This is for small networks, in which launching kernels takes longer than running them. Weights are not copied, so an
    optimiser may change them in place. The following must be as in the capture: the shape, dtype and device of x,
    whether x needs a gradient, and whether the network is in training or evaluation mode. x [T, B, *features] on a GPU.
    Raises ValueError or TypeError for a network or input that cannot be captured, RuntimeError if the capture itself
    fails. It uses `torch.cuda.make_graphed_callables`.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(ranvier.Linear(20, 64), ranvier.LIF(), ranvier.Linear(64, 5), ranvier.LI())
    >>> if torch.cuda.is_available():
    ...     x = torch.rand(100, 8, 20, device="cuda")
    ...     quick = ranvier.graphed(net.cuda(), x)
    ...     assert torch.allclose(quick(x), net(x), atol=1e-5)
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"graphed: the first argument must be a module, got {type(net).__name__}")
    if not isinstance(x, Tensor):
        raise TypeError(f"graphed: x must be a tensor [T, B, *features], got {type(x).__name__}")
    if x.device.type != "cuda":
        raise ValueError(
            f"graphed: CUDA graphs need a GPU, but x is on {x.device}; move x and the network to a GPU, or call "
            f"the network directly"
        )
    for name, one in (*net.named_parameters(), *net.named_buffers()):
        if is_lazy(one):
            raise ValueError(f"graphed: {name!r} has no shape yet; call the network once first")
        if one.device != x.device:
            raise ValueError(f"graphed: {name!r} is on {one.device} and x on {x.device}; move them to one device")
    seen = next((name or type(m).__name__ for name, m in net.named_modules() if watched(m)), None)
    if seen is not None or all_watched():
        raise ValueError(
            f"graphed: {seen or 'every module'} has a hook or its own `forward`, which a graph would not call; "
            f"remove it first"
        )
    return Graphed(net, x)


class _Whole(nn.Module):
    """A wrapper around the network that torch may change."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.training = net, net.training

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


def _said(shape: Any, dtype: Any, device: Any, learns: bool) -> str:
    return f"{tuple(shape)}, {dtype}, on {device}{', which needs a gradient' if learns else ''}"

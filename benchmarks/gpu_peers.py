"""What stands beside Ranvier on a GPU: a plain loop compiled by torch, and SpikingJelly. Each builds the same networks
from its own parts."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

BETA = 0.9
Step = Callable[..., tuple[Tensor, ...]]  # an input and the states -> the spikes and the next states


class _Spike(torch.autograd.Function):
    """A step whose derivative is 1 / (1 + (pi u)^2), as an arctangent gives it."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return grads[0] / (1 + (torch.pi * u) ** 2)


def lif(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """One step of LIF in torch's own operations."""
    v = BETA * v + x
    z = _Spike.apply(v - 1.0)
    return z, v - z


def alif(x: Tensor, v: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of a LIF whose threshold rises with each spike."""
    v = BETA * v + x
    z = _Spike.apply(v - 1.0 - 0.2 * a)
    return z, v - z, 0.97 * a + z


STATES = {lif: 1, alif: 2}


class Over(nn.Module):
    """A layer of torch for all steps at once: the steps are put among the samples."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Feedback(nn.Module):
    """A layer of neurons whose spikes return through a weight, step by step."""

    def __init__(self, width: int, step: Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]], states: int):
        super().__init__()
        self.weight, self.step, self.states = nn.Linear(width, width, bias=False), step, states

    def forward(self, x: Tensor) -> Tensor:
        z, *state = (torch.zeros_like(x[0]) for _ in range(1 + self.states))
        out = []
        for now in x.unbind(0):
            z, *state = self.step(now + self.weight(z), tuple(state))
            out.append(z)
        return torch.stack(out)


class Peer(Protocol):
    """How one of them builds the parts of a network; what it lacks raises NotImplementedError."""

    name: ClassVar[str]

    def neuron(self, steps: int) -> nn.Module: ...
    def recurrent(self, width: int, step: Step = lif) -> nn.Module: ...
    def stream(self, device: str, sizes: tuple[int, int, int]) -> Callable[[Tensor], Tensor]: ...


class Compiled:
    """torch.compile of the loop where it is short, else of its step: a loop of hundreds of steps takes minutes."""

    name = "compiled"

    def __init__(self, backend: str):
        self.compile = partial(torch.compile, backend=backend)

    def neuron(self, steps: int) -> nn.Module:
        return _Loop(lif, self.compile) if steps <= 16 else _Loop(self.compile(lif))

    def recurrent(self, width: int, step: Step = lif) -> nn.Module:
        quick = self.compile(step)
        return Feedback(width, lambda x, state: quick(x, *state), STATES[step])

    def stream(self, device: str, sizes: tuple[int, int, int]) -> Callable[[Tensor], Tensor]:
        before, hidden, after = sizes
        first, last = nn.Linear(before, hidden).to(device), nn.Linear(hidden, after).to(device)

        @self.compile
        def step(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            z, v = lif(first(x), v)
            return last(z), v

        v = torch.zeros(1, hidden, device=device)

        def run(x: Tensor) -> Tensor:
            nonlocal v
            with torch.no_grad():
                y, v = step(x, v)
            return y

        return run


class _Loop(nn.Module):
    """A step in a loop over time, which is compiled as a whole if `compiled` is given."""

    def __init__(self, step: Step, compiled: Callable[[Any], Any] = lambda loop: loop):
        super().__init__()
        self.step, self.run = step, compiled(self.loop)

    def loop(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for now in x.unbind(0):
            z, v = self.step(now, v)
            out.append(z)
        return torch.stack(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


class SpikingJelly:
    """Version 2.0, which chooses a kernel by itself."""

    name = "spikingjelly"

    def neuron(self, steps: int) -> nn.Module:
        return _Reset(self._node("m"))

    def recurrent(self, width: int, step: Step = lif) -> nn.Module:
        if step is not lif:
            raise NotImplementedError("it has no ALIF")
        node = self._node("s")
        return _Reset(Feedback(width, lambda x, state: (node(x),), 0), node)

    def stream(self, device: str, sizes: tuple[int, int, int]) -> Callable[[Tensor], Tensor]:
        before, hidden, after = sizes
        net = nn.Sequential(nn.Linear(before, hidden), self._node("s"), nn.Linear(hidden, after)).to(device)
        return torch.no_grad()(net)

    def _node(self, mode: str) -> nn.Module:
        from spikingjelly.activation_based import neuron, surrogate  # type: ignore[import-not-found]

        return neuron.LIFNode(1 / (1 - BETA), False, 1.0, None, surrogate.ATan(), True, step_mode=mode)


class _Reset(nn.Module):
    """A network whose neurons begin anew at every call."""

    def __init__(self, net: nn.Module, *nodes: nn.Module):
        super().__init__()
        self.net, self.nodes = net, nn.ModuleList(nodes or (net,))

    def forward(self, x: Tensor) -> Tensor:
        for node in self.nodes:
            node.reset()
        return self.net(x)

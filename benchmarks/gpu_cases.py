"""What benchmarks/gpu.py measures; every function gives rows of its table."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from gpu_clock import Clock
from gpu_peers import Over, Peer, alif, lif
from torch import Tensor, nn

import ranvier as rv


class Sizes(NamedTuple):
    scans: tuple[tuple[int, tuple[int, ...]], ...]
    recurrent: tuple[tuple[int, int, int], ...]  # T, B, N
    conv: tuple[int, int, int]  # T, B, side of a picture
    spoken: tuple[int, int]  # T, B
    framework: tuple[int, int, int]  # T, B, N


SIZES = Sizes(
    ((16, (32, 64, 32, 32)), (100, (64, 1024)), (500, (16, 512))),
    ((100, 64, 256), (100, 64, 512), (500, 16, 512)),
    (16, 64, 32),
    (100, 128),
    (500, 16, 16384),
)
DRY = Sizes(((3, (2, 8)),), ((3, 2, 16),), (2, 1, 8), (2, 2), (2, 1, 16))


class Row(NamedTuple):
    what: str
    size: str
    dtype: str
    passes: str
    ms: float
    share: float | None = None  # of the time that a copy of as many bytes takes: 1 is the speed of memory
    compiled: float | None = None
    spikingjelly: float | None = None
    mb: float | None = None

    def line(self) -> str:
        shown = [*self[:4], f"{self.ms:.3f}", "" if self.share is None else f"{self.share:.0%}"]
        shown += ["" if v is None else f"{v:.3f}" for v in (self.compiled, self.spikingjelly)]
        return f"| {' | '.join([*shown, '' if self.mb is None else f'{self.mb:.0f}'])} |"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _passes(net: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> dict[str, Callable[[], object]]:
    """A forward pass without gradients, and one with the pass back."""

    def forward() -> None:
        with torch.no_grad():
            net(x)

    def both() -> None:
        leaf = x.detach().requires_grad_()
        net(leaf).backward(g)

    return {"forward": forward, "forward, backward": both}


def scans(clock: Clock) -> list[Row]:
    """Neurons alone: bytes moved are an input and an output forward, and twice the input and one output more back."""
    rows = []
    for steps, shape in clock.sizes.scans:
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.rand(steps, *shape, device=clock.device).to(dtype)
            g = torch.rand_like(x)
            for name in ("LIF", "ALIF", "AdEx"):
                net = getattr(rv, name)().to(clock.device)
                for what, run in _passes(net, x, g).items():
                    ms = clock(run)
                    moved = x.numel() * dtype.itemsize * (2 if what == "forward" else 5)

                    def other(peer: Peer, what: str = what, x: Tensor = x, g: Tensor = g) -> Callable[[], object]:
                        return _passes(peer.neuron(len(x)).to(x.device), x, g)[what]

                    others = clock.beside(other) if name == "LIF" else {}
                    size = f"{steps}, {'x'.join(map(str, shape))}"
                    rows.append(Row(name, size, _short(dtype), what, ms, moved / clock.rate * 1e3 / ms, **others))
    return rows


def recurrent(clock: Clock) -> list[Row]:
    """One layer whose spikes return, the weight in float32 (exact, then TF32) and bfloat16."""
    rows = []
    for steps, batch, width in clock.sizes.recurrent:
        for dtype, product in ((torch.float32, "highest"), (torch.float32, "high"), (torch.bfloat16, "highest")):
            torch.set_float32_matmul_precision(product)
            net = rv.Recurrent(rv.LIF(), width).to(clock.device, dtype)
            x = torch.rand(steps, batch, width, device=clock.device).to(dtype)
            named = _short(dtype) + (", TF32 product" if product == "high" else "")
            g = torch.rand_like(x)
            for what, run in _passes(net, x, g).items():

                def other(peer: Peer, what: str = what, x: Tensor = x, g: Tensor = g) -> Callable[[], object]:
                    return _passes(peer.recurrent(x.shape[2]).to(x.device, x.dtype), x, g)[what]

                size = f"{steps}, {batch}x{width}"
                rows.append(Row("Recurrent LIF", size, named, what, clock(run), **clock.beside(other)))
    torch.set_float32_matmul_precision("highest")
    return rows


def _training(
    clock: Clock, what: str, net: nn.Module, others: Callable[[Peer], nn.Module], x: Tensor, size: str
) -> Row:
    """A training step: forward, backward, a step of SGD, and the memory it takes."""
    labels = torch.zeros(x.shape[1], dtype=torch.long, device=x.device)

    def training(net: nn.Module) -> Callable[[], None]:
        optimiser = torch.optim.SGD(net.to(x.device).parameters(), 0.01)

        def step() -> None:
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x).mean(0), labels).backward()
            optimiser.step()

        return step

    step = training(net)
    beside = clock.beside(lambda peer: training(others(peer)))
    return Row(what, size, "float32", "a training step", clock(step), mb=clock.peak(step), **beside)


def conv(clock: Clock) -> list[Row]:
    """Two stages of convolution, norm, neuron and pool, and a linear layer whose mean over time is the answer."""
    (steps, batch, side), widths = clock.sizes.conv, ((2, 64), (64, 128))
    last = (side // 4) ** 2 * 128

    def stage(before: int, after: int) -> list[nn.Module]:
        made = rv.Conv2d(before, after, 3, padding=1, bias=False)
        return [made, nn.BatchNorm2d(after), rv.LIF(), nn.MaxPool2d(2)]

    def theirs(peer: Peer) -> nn.Module:
        parts: list[nn.Module] = []
        for before, after in widths:
            made = nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after))
            parts += [Over(made), peer.neuron(steps), Over(nn.MaxPool2d(2))]
        return nn.Sequential(*parts, nn.Flatten(2), nn.Linear(last, 10))

    stages = [layer for width in widths for layer in stage(*width)]
    net = rv.Sequential(*stages, nn.Flatten(), rv.Linear(last, 10))
    x = (torch.rand(steps, batch, 2, side, side, device=clock.device) < 0.2).float()
    return [_training(clock, "conv net 2-64-128-10", net, theirs, x, f"{steps}, {batch}x2x{side}x{side}")]


def spoken(clock: Clock) -> list[Row]:
    """700-256-20 with a recurrent layer, as for spoken digits."""
    rows, (steps, batch) = [], clock.sizes.spoken
    x = (torch.rand(steps, batch, 700, device=clock.device) < 0.05).float()
    for neuron, step in ((rv.LIF, lif), (rv.ALIF, alif)):

        def theirs(peer: Peer, step: Callable = step) -> nn.Module:
            return nn.Sequential(nn.Linear(700, 256), peer.recurrent(256, step), nn.Linear(256, 20))

        net = rv.Sequential(rv.Linear(700, 256), rv.Recurrent(neuron(), 256), rv.Linear(256, 20))
        what = f"700-256-20, recurrent {neuron.__name__}"
        rows.append(_training(clock, what, net, theirs, x, f"{steps}, {batch}x700"))
    return rows


def latency(clock: Clock) -> list[Row]:
    """One step of a stream, one sample."""
    net = rv.Sequential(rv.Linear(64, 128), rv.LIF(), rv.Linear(128, 10)).to(clock.device)
    stream, x = rv.Stream(net), torch.rand(1, 64, device=clock.device)

    def other(peer: Peer) -> Callable[[], object]:
        run = peer.stream(clock.device, (64, 128, 10))
        return lambda: run(x)

    repeats = 10 * clock.repeats
    ms = clock(lambda: stream(x), repeats)
    return [Row("Stream 64-128-10", "1x64", "float32", "a step", ms, **clock.beside(other, repeats))]


def framework(clock: Clock) -> list[Row]:
    """The case of Open Neuromorphic's table: a square linear layer and LIF, forward and back, and in which precision
    the product is made, which that table leaves open."""
    (steps, batch, width), rows = clock.sizes.framework, []
    for product, named in (("highest", "float32, exact product"), ("high", "float32, TF32 product")):
        torch.set_float32_matmul_precision(product)
        x = torch.rand(steps, batch, width, device=clock.device)

        def both(net: nn.Module, x: Tensor = x) -> Callable[[], None]:
            def run() -> None:
                net.zero_grad()
                net(x).sum().backward()

            return run

        def other(peer: Peer) -> Callable[[], object]:
            theirs = nn.Sequential(nn.Linear(width, width, bias=False), peer.neuron(steps))
            return both(theirs.to(clock.device))

        ours = both(rv.Sequential(rv.Linear(width, width, bias=False), rv.LIF()).to(clock.device))
        what = "Linear, LIF", f"{steps}, {batch}x{width}", named, "forward, backward"
        rows.append(Row(*what, clock(ours, 3), mb=clock.peak(ours), **clock.beside(other, 3)))
    torch.set_float32_matmul_precision("highest")
    return rows

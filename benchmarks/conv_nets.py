"""One training step of a small convolutional spiking net in the words of one library: conv_nets.py NAME REPEATS.

Conv(1, 32, 3) - batch norm - LIF - max pool - Conv(32, 64, 3) - batch norm - LIF - max pool - linear - leaky readout;
T = 8, batch 32, 28 x 28 pixels. All libraries have the same weights, input and neuron (decay 1/2, threshold 1, reset by
subtraction without gradient, slope atan(2)) and each runs in its own fastest mode. Prints one line of JSON.
"""

import ctypes
import gc
import json
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS, BATCH = 8, 32


class Folded(nn.Sequential):
    """Plain layers, time folded into the batch; channels last in memory, which makes every library faster here."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        _, c, h, w = y.shape
        y = y.as_strided(y.shape, (h * w * c, 1, w * c, c))  # says so even where there is one channel
        return super().forward(y).unflatten(0, x.shape[:2])


class LoopReadout(nn.Module):
    """v = v / 2 + x, tick by tick."""

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for x_t in x.unbind(0):
            v = 0.5 * v + x_t
            out.append(v)
        return torch.stack(out)


def plain(lif, readout=LoopReadout) -> nn.Module:
    return nn.Sequential(
        Folded(nn.Conv2d(1, 32, 3, bias=False), nn.BatchNorm2d(32)), lif(), Folded(nn.MaxPool2d(2)),
        Folded(nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64)), lif(), Folded(nn.MaxPool2d(2)),
        nn.Flatten(2), nn.Linear(64 * 25, 10), readout(),
    )  # fmt: skip


def ranvier() -> nn.Module:
    import ranvier as rv

    def lif() -> nn.Module:
        return rv.LIF(beta=0.5, detach_reset=True, surrogate=rv.surrogate.atan(2.0))

    return rv.Sequential(
        nn.Conv2d(1, 32, 3, bias=False), nn.BatchNorm2d(32), lif(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64), lif(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 25, 10), rv.LI(beta=0.5),
    )  # fmt: skip


def spikingjelly() -> nn.Module:
    from spikingjelly.activation_based import neuron, surrogate

    class Lif(nn.Module):
        def __init__(self):
            super().__init__()
            self.node = neuron.LIFNode(
                tau=2.0, decay_input=False, v_reset=None, detach_reset=True, surrogate_function=surrogate.ATan(),
                step_mode="m",
            )  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            self.node.reset()
            return self.node(x)

    return plain(Lif)


def snntorch() -> nn.Module:
    import snntorch as snn

    class Lif(nn.Module):
        def __init__(self):
            super().__init__()
            self.node = snn.Leaky(beta=0.5, spike_grad=snn.surrogate.atan(alpha=2.0), reset_delay=False)

        def forward(self, x: Tensor) -> Tensor:
            v, out = torch.zeros_like(x[0]), []
            for x_t in x.unbind(0):  # x[t] would cost O(T^2) in backward
                z, v = self.node(x_t, v)
                out.append(z)
            return torch.stack(out)

    return plain(Lif)


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u)

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return g / (1 + (torch.pi * u) ** 2)


class LoopLif(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for x_t in x.unbind(0):
            v = torch.add(x_t, v, alpha=0.5)
            z = Spike.apply(v - 1.0)
            v = v - z.detach()
            out.append(z)
        return torch.stack(out)


def loop() -> nn.Module:
    """The least a library on plain PyTorch can do."""
    return plain(LoopLif)


def compiled() -> nn.Module:
    """The plain loop under torch.compile."""
    return torch.compile(plain(LoopLif))  # type: ignore[return-value]


NETS = {f.__name__: f for f in (ranvier, spikingjelly, snntorch, loop, compiled)}


def memory(key: str) -> float:
    """VmRSS or VmHWM of this process in MiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key)) / 1024


def main(name: str, repeats: int) -> None:
    torch.manual_seed(0)
    net = NETS[name]()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05)
    x = (torch.rand(STEPS, BATCH, 1, 28, 28) < 0.4).float()
    labels = torch.randint(10, (BATCH,))

    def step(x: Tensor, labels: Tensor) -> float:
        optimiser.zero_grad()
        loss = functional.cross_entropy(net(x).mean(0), labels)
        loss.backward()
        optimiser.step()
        return loss.item()

    before = {k: v.clone() for k, v in net.state_dict().items()}
    step(x[:, :2].contiguous(), labels[:2])  # code is compiled and loaded, buffers stay small
    net.load_state_dict(before)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the high-water mark begins anew
    idle = memory("VmRSS")
    losses = [step(x, labels) for _ in range(3)]
    peak = memory("VmHWM") - idle
    wall, cpu = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        step(x, labels)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    print(json.dumps({"name": name, "losses": losses, "peak": peak, "wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

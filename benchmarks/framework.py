"""The Open Neuromorphic benchmark: Linear(n, n) without bias, then LIF; batch 16, 500 ticks; forward, backward, memory.

Every library in the fastest way it documents, in a process and an environment of its own (see peers.py), one after the
other, on one thread each. Times are CPU seconds of the process (on an idle machine the same as those of the clock, on a
busy one the fairer figure), the median of the repeats after two passes; memory is the highest resident size during one
forward and backward pass above that before it. Decay 0.5, threshold 1, subtractive reset, or the nearest there is.
Ranvier's spikes are first compared with its reference loop, and with SpikingJelly's, whose equation is the same.
"""

import ctypes
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH, STEPS, SIZES = 16, 500, (512, 4096)
HERE = Path(__file__)


def product_alone(n: int) -> tuple[Any, str]:
    """The linear layer without any neuron: what no library can do without."""
    from torch import nn

    return nn.Linear(n, n, bias=False), "TBN"


def ranvier(n: int) -> tuple[Any, str]:
    from torch import nn

    import ranvier as rv

    linear = getattr(rv, "Linear", nn.Linear)
    return rv.Sequential(linear(n, n, bias=False), rv.LIF(beta=0.5, detach_reset=True)), "TBN"


def spikingjelly(n: int) -> tuple[Any, str]:
    from spikingjelly.activation_based import neuron, surrogate
    from torch import nn

    node = neuron.LIFNode(2.0, False, 1.0, None, surrogate.ATan(), True, step_mode="m")

    class Fresh(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.node = nn.Linear(n, n, bias=False), node

        def forward(self, x):
            self.node.reset()
            return self.node(self.linear(x))

    return Fresh(), "TBN"


def snntorch(n: int) -> tuple[Any, str]:
    import snntorch as snn
    import torch
    from torch import nn

    class Looped(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(n, n, bias=False)
            self.leaky = snn.Leaky(beta=0.5, spike_grad=snn.surrogate.atan())

        def forward(self, x):
            current, spikes = self.linear(x), []
            v = torch.zeros_like(current[0])
            for x_t in current.unbind(0):  # current[t] would make backward quadratic in time
                z, v = self.leaky(x_t, v)
                spikes.append(z)
            return torch.stack(spikes)

    return Looped(), "TBN"


def norse(n: int) -> tuple[Any, str]:
    import norse.torch as nt
    import torch
    from torch import nn

    settings = nt.LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), alpha=torch.tensor(10.0), v_th=torch.tensor(0.5))

    class Looped(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.cell = nn.Linear(n, n, bias=False), nt.LIFBoxCell(settings)

        def forward(self, x):
            spikes, state = [], None
            for x_t in self.linear(x).unbind(0):  # its own Lift says x[t]: ten times slower backwards
                z, state = self.cell(x_t, state)
                spikes.append(z)
            return torch.stack(spikes)

    return Looped(), "TBN"


def sinabs(n: int) -> tuple[Any, str]:
    import sinabs.activation as activation
    import sinabs.layers as layers
    from torch import nn

    lif = layers.LIF(tau_mem=1 / math.log(2), spike_fn=activation.SingleSpike, norm_input=False)
    lif.tau_mem.requires_grad_(False)

    class Fresh(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.lif = nn.Linear(n, n, bias=False), lif

        def forward(self, x):
            self.lif.reset_states()
            return self.lif(self.linear(x))

    return Fresh(), "BTN"


def rockpool(n: int) -> tuple[Any, str]:
    from rockpool.nn.modules import LIFTorch
    from rockpool.parameters import Constant
    from torch import nn

    half, none, one = Constant(0.5), Constant(0.0), Constant(1.0)

    class Fresh(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(n, n, bias=False)
            self.lif = LIFTorch((n,), leak_mode="decays", alpha=half, beta=half, bias=none, threshold=one, dt=1e-3)

        def forward(self, x):
            self.lif.reset_state()
            return self.lif(self.linear(x))[0]

    return Fresh(), "BTN"


TORCH: dict[str, Callable[[int], tuple[Any, str]]] = {
    f.__name__: f for f in (product_alone, ranvier, spikingjelly, snntorch, norse, sinabs, rockpool)
}


def on_torch(name: str, n: int, steps: int, repeats: int, threads: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net, layout = TORCH[name](n)
    torch.manual_seed(1)
    weight = torch.randn(n, n) / math.sqrt(n) * 0.6
    next(p for p in net.parameters() if p.shape == weight.shape).data = weight
    x = torch.rand(steps, BATCH, n).mul_(2.0)
    x = x if layout == "TBN" else x.transpose(0, 1).contiguous()
    few = x[:50] if layout == "TBN" else x[:, :50]
    if name == "ranvier":
        agree(net, few)

    seen: dict[str, float] = {}

    def both(x: Any = x) -> tuple[float, float]:
        net.zero_grad(set_to_none=True)
        start = time.process_time()
        y = net(x)
        middle = time.process_time()
        y.sum().backward()
        spent = middle - start, time.process_time() - middle
        y = y.detach() if layout == "TBN" else y.detach().transpose(0, 1)
        seen.update(rate=float(y.mean()), spikes=float(y[:20].sum()))
        return spent

    both(few)  # what is compiled or loaded at first use is no part of the peak
    peak = highest(both)
    return {**figures([both() for _ in range(repeats)]), "memory_mb": peak, **seen}


def agree(net: Any, x: Any) -> None:
    """Refuse to time a kernel that is not its reference."""
    import torch

    import ranvier as rv

    found = []
    for machine in ("cpu", "reference"):
        with rv.machine(machine):
            net.zero_grad(set_to_none=True)
            y = net(x)
            y.sum().backward()
            found.append((y.detach(), next(iter(net.parameters())).grad.clone()))
    if not torch.equal(found[0][0], found[1][0]) or not torch.allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-3):
        raise SystemExit("ranvier: the kernels do not agree with the reference; not timed")


def on_jax(n: int, steps: int, repeats: int, threads: int) -> dict[str, Any]:
    one = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ.setdefault("XLA_FLAGS", one if threads == 1 else "")
    import jax
    import jax.numpy as jnp
    import numpy as np
    import spyx.nn as sn
    from flax import nnx
    from spyx import axn

    rngs = nnx.Rngs(0)
    x = jnp.asarray(np.random.default_rng(0).random((steps, BATCH, n), dtype=np.float32) * 2)
    net = nnx.Dict(
        linear=nnx.Linear(n, n, use_bias=False, rngs=rngs),
        lif=sn.LIF((n,), beta=0.5, activation=axn.arctan(), rngs=rngs),
    )
    graph, params, rest = nnx.split(net, nnx.Param, ...)

    def loss(params: Any, x: Any) -> Any:  # the linear layer over the whole sequence: quicker than tick by tick
        whole = nnx.merge(graph, params, rest)
        return sn.run(whole["lif"], whole["linear"](x))[0].sum()

    compiled = [jax.jit(f).lower(params, x).compile() for f in (loss, jax.value_and_grad(loss))]
    forward, all_of_it = compiled

    def timed(function: Callable) -> float:
        start = time.process_time()
        jax.block_until_ready(function(params, x))
        return time.process_time() - start

    def both() -> tuple[float, float]:
        ahead = timed(forward)
        return ahead, timed(all_of_it) - ahead

    peak = highest(both)
    rate = float(forward(params, x)) / x.size
    return {**figures([both() for _ in range(repeats)]), "memory_mb": peak, "rate": rate}


def figures(timed: list[tuple[float, float]]) -> dict[str, float]:
    ahead, back = (statistics.median(column) for column in zip(*timed, strict=True))
    return {"forward_s": ahead, "backward_s": back}


def highest(work: Callable[[], Any]) -> float:
    """MB of resident memory that `work` takes at its highest the first time, above what there was."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(what: str) -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


def child(name: str, n: int, steps: int, repeats: int, threads: int) -> dict[str, Any]:
    if name == "spyx":
        return on_jax(n, steps, repeats, threads)
    return on_torch(name, n, steps, repeats, threads)


def measure(name: str, n: int, steps: int, repeats: int, threads: int) -> dict[str, Any]:
    from peers import python

    interpreter = Path(sys.executable) if name in ("product_alone", "ranvier") else python(name)
    if not interpreter.exists():
        return {"error": f"not installed: python benchmarks/peers.py {name}"}
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), "THP_MEM_ALLOC_ENABLE": "1"}
    if name not in ("product_alone", "ranvier"):
        environment.pop("PYTHONPATH", None)
    command = [str(interpreter), str(HERE), "--child", name, *map(str, (n, steps, repeats, threads))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]}


def main(
    quick: bool = False,
    threads: int = 1,
    names: tuple[str, ...] = (*TORCH, "spyx"),
    sizes: tuple[int, ...] = SIZES,
    repeats: tuple[int, int] = (9, 3),
) -> dict:
    """Measure, print a table, write framework.json and framework.svg beside this file.

    Asked for some names or sizes only, it puts them with what framework.json holds already.
    """
    kept, some = HERE.parent / "framework.json", set(names) != {*TORCH, "spyx"} or sizes != SIZES
    found: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if some and kept.exists() else {}
    for n in sizes[:1] if quick else sizes:
        print(f"Linear({n}, {n}) + LIF, batch {BATCH}, {STEPS} ticks, {threads} thread(s)")
        print(f"{'':14}{'forward s':>11}{'backward s':>12}{'peak MB':>10}{'rate':>8}")
        for name in names:
            row = found.setdefault(str(n), {})[name] = measure(name, n, STEPS, repeats[n > 1000], threads)
            if "error" in row:
                print(f"{name:14}{row['error']}", flush=True)
            else:
                print(
                    f"{name:14}{row['forward_s']:11.3f}{row['backward_s']:12.3f}{row['memory_mb']:10.0f}{row['rate']:8.3f}",
                    flush=True,
                )
            kept.write_text(json.dumps(found, indent=1) + "\n")
        same = [found[str(n)].get(name, {}).get("spikes") for name in ("ranvier", "spikingjelly")]
        if None not in same:
            print(f"spikes in the first 20 ticks: ranvier {same[0]:.0f}, spikingjelly {same[1]:.0f}\n")
    plot(found, kept.with_suffix(".svg"))
    return found


def plot(found: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """Bars of time and memory, for every library and size."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(found), 2, figsize=(9, 2.6 * len(found)), squeeze=False, layout="constrained")
    for row, (n, libraries) in zip(axes, found.items(), strict=True):
        rows = {name: r for name, r in libraries.items() if "error" not in r}
        names, places = list(rows), range(len(rows))
        for side, what in ((-0.2, "forward"), (0.2, "backward")):
            seconds = [r[f"{what}_s"] for r in rows.values()]
            row[0].barh([k + side for k in places], seconds, height=0.4, label=what)
        row[1].barh(names, [r["memory_mb"] for r in rows.values()], color="gray")
        row[0].set(title=f"n = {n}: seconds", yticks=places, yticklabels=names, xscale="log")
        row[0].set_xlim(left=0.5 * min(r["forward_s"] for r in rows.values()))
        row[0].xaxis.set_minor_formatter("")
        row[1].set(title="peak MB")
        row[0].invert_yaxis(), row[1].invert_yaxis()
    axes[0, 0].legend(frameon=False)
    figure.savefig(path)
    pyplot.close(figure)


if __name__ == "__main__":
    if "--child" in sys.argv:
        name, *numbers = sys.argv[sys.argv.index("--child") + 1 :]
        print(json.dumps(child(name, *map(int, numbers))))
    else:
        main(quick="--quick" in sys.argv)

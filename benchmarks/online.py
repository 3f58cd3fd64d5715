"""Learning forward in time: accuracy, time and memory beside backpropagation through time.

python benchmarks/online.py accuracy [--tasks digits,...] [--gradients eprop,...] [--seeds 3]   # minutes a line
python benchmarks/online.py speed           # the fused kernel beside a plain loop of torch operations, and BPTT
python benchmarks/online.py memory          # of a stream that learns, after 1,000 and after 1,000,000 steps
python benchmarks/online.py page            # writes what was measured into docs/online-learning.md

Figures are kept in docs/online-learning.json; a line that is measured again takes the place of the old one.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parent))

import torch
from measure import header, interleaved
from torch import nn

import ranvier as rv
from ranvier.recipes import JapaneseVowels, Recipe
from ranvier.recipes.signal import Net, spread

PAGE, FIGURES = (Path(__file__).parents[1] / "docs" / f"online-learning.{kind}" for kind in ("md", "json"))


# ---------------------------------------------------------------- accuracy
@dataclass(frozen=True)
class Vowels(JapaneseVowels):
    """The recipe `japanese-vowels` without batch norms, which traces do not follow, and without offsets: two layers of
    LIF.
    """

    name: ClassVar[str] = "vowels"
    gradient: str = "bptt"
    feedback: str = "symmetric"
    epochs: int = 40
    offset: float = 0.0
    net: Net = field(default_factory=lambda: Net(neuron="lif", dropout=0.3))

    def build(self) -> nn.Module:
        n = self.net

        def neurons() -> nn.Module:
            one = self.gradient == "ottt"  # whose traces of inputs need one decay for all
            return rv.LIF(beta=0.9) if one else rv.LIF(beta=spread(n.hidden, 2.0, n.longest), shape=n.hidden)

        net = rv.Sequential(
            rv.Linear(24, n.hidden), neurons(), rv.Dropout(n.dropout), rv.Linear(n.hidden, n.hidden), neurons(),
            rv.Linear(n.hidden, 9), rv.LI(beta=n.readout_beta),
        )  # fmt: skip
        return rv.Padded(rv.online.Learner(net, self.gradient, self.feedback))


TASKS: dict[str, type[Recipe] | str] = {"digits": "digits", "vowels": Vowels, "store-recall": "store-recall"}
SAID = {
    "digits": "Digits, 8 steps, two convolutions and two linear layers",
    "vowels": "Japanese Vowels, 7 to 29 steps, two layers of 128 LIF",
    "store-recall": "Store and recall, 120 steps, 40 recurrent ALIF",
}
RANDOM = {"eprop-random": ("eprop", "random"), "eprop-adaptive": ("eprop", "adaptive")}
KINDS = ("bptt", "drtrl", "ostl", "eprop", *RANDOM, "ottt", "sltt")


def accuracy(tasks: list[str], kinds: list[str], seeds: int, data: str | None) -> None:
    """Train every task by every gradient; a cell that cannot be says why."""
    from rich.console import Console

    for task in tasks:
        for kind in kinds:
            gradient, feedback = RANDOM.get(kind, (kind, "symmetric"))
            settings = {"gradient": gradient} | ({"feedback": feedback} if kind in RANDOM else {})
            runs = []
            for seed in range(seeds):
                started = time.perf_counter()
                try:
                    with tempfile.TemporaryDirectory() as folder:
                        place = {"data": data} if data and task == "vowels" else {}
                        result = rv.train.run(
                            TASKS[task], folder, console=Console(quiet=True), seed=seed, accelerator="cpu",
                            **place, **settings,
                        )  # fmt: skip
                    runs.append({"accuracy": result.accuracy, "seconds": round(time.perf_counter() - started, 1)})
                except (TypeError, ValueError) as problem:
                    keep("accuracy", task, kind, {"refused": str(problem).splitlines()[0]})
                    break
            else:
                keep("accuracy", task, kind, {"runs": runs})
            print(task, kind, runs, flush=True)


def keep(part: str, *path_and_value) -> None:
    """Write one figure among those that are known."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    *path, last, value = (part, *path_and_value)
    inner = figures
    for name in path:
        inner = inner.setdefault(name, {})
    inner[last] = value
    figures.setdefault("on", {})[part] = header()
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


# ---------------------------------------------------------------- the page
def cell(found: dict | None) -> str:
    if found is None:
        return "not measured"
    if "refused" in found:
        return "refused"
    shares = [100 * run["accuracy"] for run in found["runs"]]
    return f"{statistics.mean(shares):.2f} ± {statistics.stdev(shares):.2f}" if len(shares) > 1 else f"{shares[0]:.2f}"


def table(figures: dict) -> str:
    """Accuracy of each task by each gradient, in percent: mean and deviation over seeds."""
    tasks = [task for task in TASKS if task in figures["accuracy"]]
    lines = ["| gradient | " + " | ".join(SAID[task] for task in tasks) + " |", "|---" * (len(tasks) + 1) + "|"]
    lines += [
        f"| `{kind}` | " + " | ".join(cell(figures["accuracy"][task].get(kind)) for task in tasks) + " |"
        for kind in KINDS
    ]
    return "\n".join(lines)


def page() -> None:
    """Put the tables between the marks of the page."""
    figures, text = json.loads(FIGURES.read_text()), PAGE.read_text()
    for name, made in {"accuracy": table, "speed": speeds, "memory": memories}.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        head, _, rest = text.partition(begin)
        text = head + begin + made(figures) + end + rest.partition(end)[2]
    PAGE.write_text(text)


def memories(figures: dict) -> str:
    f = figures["memory"]["stream"]
    rows = {
        f"stream, e-prop, after 1,000 steps ({f['us']:g} µs each, the optimiser's included)": f"{f['early_mb']} MB",
        f"the same after {f['steps']:,} steps": f"{f['late_mb']} MB",
        f"BPTT ({f['bptt_us']:g} µs a step, one update for all)": f"{f['bptt_bytes']:,} bytes a step",
        f"most steps of BPTT that fit into {f['available_gb']} GB": f"{f['bptt_longest']:,}",
    }
    head = "| 16 inputs, 64 recurrent `ALIF`, batch 1 | memory |"
    return "\n".join([head, "|---|---|", *(f"| {what} | {much} |" for what, much in rows.items())])


def speeds(figures: dict) -> str:
    lines = ["| neuron | way | ms | times the loop |", "|---|---|---|---|"]
    for name, runs in figures["speed"].items():
        lines += [f"| {name} | {kind} | {f['ms']:.1f} | {f['times']:g} |" for kind, f in runs.items()]
    return "\n".join(lines)


# ---------------------------------------------------------------- speed
def by_hand(neuron: str, w: torch.Tensor, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """e-prop as most write it: a loop of torch operations. x [T, B, K], g [T, B, N] (the learning signal), w [N, K]."""
    adapts, beta, rho, kappa = neuron == "ALIF", 0.9, 0.97, 0.2
    v, a = (x.new_zeros(x.shape[1], len(w)) for _ in range(2))
    trace, epsilon, grad = x.new_zeros(x.shape[1:]), x.new_zeros(x.shape[1], *w.shape), torch.zeros_like(w)
    for x_t, g_t in zip(x.unbind(0), g.unbind(0), strict=True):
        v = beta * v + x_t @ w.T
        u = v - 1.0 - kappa * a if adapts else v - 1.0
        z, psi = (u >= 0).to(x), 1.0 / (1.0 + (torch.pi * u).square())
        trace = beta * trace + x_t
        e = psi.unsqueeze(2) * (trace.unsqueeze(1) - kappa * epsilon if adapts else trace.unsqueeze(1))
        grad += (g_t.unsqueeze(2) * e).sum(0)
        if adapts:
            slope = psi.unsqueeze(2)
            epsilon = slope * trace.unsqueeze(1) + (rho - kappa * slope) * epsilon
            a = rho * a + z
    return grad


def trained(net: nn.Module, linear: nn.Linear, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """The gradient of a weight, forward and backward."""
    linear.weight.grad = None
    net(x).backward(g)
    return linear.weight.grad


def speed(quick: bool = False) -> None:
    """Milliseconds of one sequence, forward and gradient, one thread; and the bytes that wait for the gradient."""
    torch.set_num_threads(1)
    steps, batch, inputs, hidden = (20, 8, 64, 64) if quick else (100, 32, 128, 128)
    torch.manual_seed(0)
    x, g = (torch.rand(steps, batch, inputs) < 0.1).float(), torch.randn(steps, batch, hidden)
    for name, neuron in (("LIF", rv.LIF(reset="none")), ("ALIF", rv.ALIF(reset="none"))):
        linear = rv.Linear(inputs, hidden, bias=False)
        nn.init.normal_(linear.weight, 0.0, 0.3)
        net = rv.Sequential(linear, neuron)

        kinds = ("eprop", "ottt") if name == "LIF" else ("eprop", "sltt")
        runs = {"a loop of torch operations": partial(by_hand, name, linear.weight.detach(), x, g)}
        runs |= {kind: partial(trained, rv.online.Learner(net, kind), linear, x, g) for kind in kinds}
        runs["bptt"] = partial(trained, net, linear, x, g)
        true, found = (runs[k]() for k in ("a loop of torch operations", "eprop"))
        error = ((true - found).norm() / true.norm()).item()
        assert error < 1e-4, f"{name}: the loop and the kernel disagree by {error:.1e}"
        times = interleaved(*runs.values(), repeats=3 if quick else 7)
        for kind, seconds in zip(runs, times, strict=True):
            print(f"{name:5} {kind:27} {1e3 * seconds:8.2f} ms  {times[0] / seconds:6.1f} times the loop")
            if not quick:
                keep("speed", name, kind, {"ms": round(1e3 * seconds, 3), "times": round(times[0] / seconds, 1)})


# ---------------------------------------------------------------- memory
def network(inputs: int = 16, hidden: int = 64) -> rv.Sequential:
    torch.manual_seed(0)
    return rv.Sequential(rv.Linear(inputs, hidden), rv.Recurrent(rv.ALIF(), hidden), rv.Linear(hidden, 2), rv.LI())


def resident() -> float:
    """MB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def memory(steps: int = 1_000_000) -> None:
    """A stream that learns at every step: MB after 1,000 steps and after all, and its time; then BPTT."""
    torch.set_num_threads(1)
    how = rv.online.Learning(nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=1e-4))
    stream, x = rv.Stream(network(), learn=how), (torch.rand(1000, 1, 16) < 0.2).float()
    target = torch.rand(1000, 1, 2)

    def run(count: int) -> float:
        started = time.perf_counter()
        for t in range(count):
            stream(x[t % 1000], target[t % 1000])
        return time.perf_counter() - started

    run(1000)
    early = resident()
    seconds = run(steps - 1000)
    late = resident()
    each = 1e6 * seconds / (steps - 1000)
    print(f"{early:.1f} MB after 1,000 steps, {late:.1f} MB after {steps:,}; {each:.0f} us per step")
    found = {"steps": steps, "early_mb": round(early, 2), "late_mb": round(late, 2), "us": round(each, 1)}
    net, count = network(), 50_000
    inputs, wanted = x.repeat(count // 1000, 1, 1), target.repeat(count // 1000, 1, 1)
    slope = (rv.saved_memory(net, inputs).total + 4 * (inputs.numel() + wanted.numel())) / count  # with the data itself
    nn.functional.mse_loss(net(inputs), wanted).backward()
    started = time.perf_counter()
    nn.functional.mse_loss(net(inputs), wanted).backward()
    found["bptt_us"] = round(1e6 * (time.perf_counter() - started) / count, 2)
    available = int(next(line for line in open("/proc/meminfo") if line.startswith("MemAvailable")).split()[1]) * 1024
    found |= {
        "bptt_bytes": round(slope),
        "bptt_longest": int(available / slope),
        "available_gb": round(available / 1e9, 1),
    }
    print(f"bptt: {slope:.0f} bytes and {found['bptt_us']} us a step; {found['bptt_longest']:,} steps fit")
    keep("memory", "stream", found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["accuracy", "speed", "memory", "page"])
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--gradients", default=",".join(KINDS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default=None, help="the folder of Japanese Vowels")
    asked = parser.parse_args()
    if asked.part == "accuracy":
        accuracy(asked.tasks.split(","), asked.gradients.split(","), asked.seeds, asked.data)
    elif asked.part == "page":
        page()
    else:
        {"speed": speed, "memory": memory}[asked.part]()


if __name__ == "__main__":
    main()

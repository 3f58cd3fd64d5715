"""What the promises are asked of: every temporal layer, and every row of layers that a `Sequential` runs as one."""

import copy
import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

import ranvier as rv
from everything import EXAMPLES, drive
from ranvier.nn.length import Whole

STEPS, BATCH = 5, 2


@dataclass(frozen=True)
class Case:
    """A network in one mode, and the features [*F] of its input [STEPS, BATCH, *F]."""

    name: str
    build: Callable[[], nn.Module]
    features: tuple[int, ...] = (3,)
    training: bool = True
    exact: bool = False  # no product and no sum over samples inside: fewer rows round alike
    density: float | None = None  # of spikes as input; None: numbers
    batch: int = BATCH

    def net(self) -> nn.Module:
        """The network, the same whenever it is built."""
        torch.manual_seed(0)
        return self.build().train(self.training)

    def x(self, dtype: torch.dtype = torch.float32, seed: int = 1, steps: int = STEPS) -> Any:
        """Input(s) that make neurons spike now and then."""
        if self.density is not None:
            generator = torch.Generator().manual_seed(seed)
            return (torch.rand(steps, self.batch, *self.features, generator=generator) < self.density).to(dtype)
        net = self.net()
        first = net if isinstance(net, rv.Neuron) else getattr(net, "neuron", rv.IF())
        return drive(first, steps, (self.batch, *self.features), dtype, seed)  # type: ignore[arg-type]


# Layers that see all steps at once, which the laws of streams leave out.
WHOLE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MultiDimensionalAttention": (
        lambda: rv.MultiDimensionalAttention(STEPS, 4, reduction=(2, 2)),
        (4, 3, 3),
    ),
    "PSN": (lambda: rv.PSN(STEPS), (3,)),
    "TemporalAttention": (lambda: rv.TemporalAttention(STEPS), (3,)),
}


def _layers() -> list[Case]:
    whole = {n for n, c in vars(rv).items() if inspect.isclass(c) and issubclass(c, Whole)}
    assert whole == WHOLE.keys(), f"layers that see all steps at once: {sorted(whole ^ WHOLE.keys())} need an example"
    found = [Case(name, e.build, e.features, exact=e.exact) for name, e in EXAMPLES.items()]
    return found + [Case(name, *WHOLE[name]) for name in sorted(whole)]


def lif(**given: Any) -> rv.Neuron:
    return rv.LIF(threshold=0.3, **given)


def rows(*makers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: rv.Sequential(*(make() for make in makers))


LINEARS: dict[str, Callable[[int, int], nn.Module]] = {"nn.Linear": nn.Linear, "rv.Linear": rv.Linear}
RETURNING: dict[str, Callable[[int], nn.Module]] = {
    "LIF": lambda n: lif(),
    "ALIF": lambda n: rv.ALIF(threshold=0.3),
    "TernaryLIF": lambda n: rv.TernaryLIF(threshold=0.3),
    "LI": lambda n: rv.LI(),
    "Recurrent": lambda n: rv.Recurrent(lif(), n),
    "Recurrent.TernaryLIF": lambda n: rv.Recurrent(rv.TernaryLIF(threshold=0.3), n),
    "Recurrent.LI": lambda n: rv.Recurrent(rv.LI(beta=0.5), n),
}


def _driven() -> list[Case]:
    """A linear layer and what it drives, alone and behind spikes."""
    found = []
    for (linear, make), (name, neuron) in itertools.product(LINEARS.items(), RETURNING.items()):
        alone = rows(lambda make=make: make(4, 6), lambda neuron=neuron: neuron(6))
        behind = rows(lambda make=make: make(4, 6), lif, lambda make=make: make(6, 5), lambda neuron=neuron: neuron(5))
        found.append(Case(f"{linear}+{name}", alone, (4,)))
        found.append(Case(f"{linear}+LIF+{linear}+{name}", behind, (4,)))
    learned = lambda: lif(learn=("beta", "threshold"), shape=6)  # noqa: E731
    norm = lambda: nn.BatchNorm1d(6)  # noqa: E731
    return [
        *found,
        Case("rv.Linear+LIF(learned)", rows(lambda: rv.Linear(4, 6), learned), (4,)),
        Case("BatchNorm1d+LIF", rows(norm, lif), (6,)),
        Case("rv.Linear+BatchNorm1d+LIF(learned)", rows(lambda: rv.Linear(4, 6), norm, learned), (4,)),
    ]


def _events() -> list[Case]:
    """Spikes so many and so few that products go by events, first those of the input, then those handed on."""
    few, pictures = {"density": 0.05, "batch": 64}, {"density": 0.05, "batch": 16}
    return [
        Case("events+LIF", rows(lambda: rv.Linear(256, 80), lif, lambda: rv.Linear(80, 4), rv.LI), (256,), **few),
        Case("events+Recurrent", rows(lambda: rv.Linear(256, 70), lambda: rv.Recurrent(lif(), 70)), (256,), **few),
        Case("events+Conv2d+LIF", rows(lambda: rv.Conv2d(8, 32, 3), lif), (8, 12, 12), **pictures),
        Case(
            "events+Conv2d+BatchNorm2d+LIF+MaxPool2d",
            rows(lambda: rv.Conv2d(8, 32, 3), lambda: nn.BatchNorm2d(32), lif, lambda: nn.MaxPool2d(2)),
            (8, 12, 12),
            **pictures,
        ),
    ]


CONVOLUTIONS: dict[str, Callable[[], nn.Module] | None] = {
    "": None, "nn.Conv2d": lambda: nn.Conv2d(2, 2, 3, padding=1), "rv.Conv2d": lambda: rv.Conv2d(2, 2, 3, padding=1)
}  # fmt: skip
NORMS: dict[str, Callable[[], nn.Module] | None] = {
    "": None, "BatchNorm2d": lambda: nn.BatchNorm2d(2), "ThresholdBatchNorm2d": lambda: rv.ThresholdBatchNorm2d(2)
}  # fmt: skip
POOLS: dict[str, Callable[[], nn.Module] | None] = {
    "": None, "MaxPool2d": lambda: nn.MaxPool2d(2), "AvgPool2d": lambda: nn.AvgPool2d(2)
}  # fmt: skip


def _pictures() -> list[Case]:
    """[convolution] [norm] neuron [pool], whatever of it there is."""
    found = []
    for (c, convolution), (n, norm), (p, pool) in itertools.product(CONVOLUTIONS.items(), NORMS.items(), POOLS.items()):
        makers = [make for make in (convolution, norm, lif, pool) if make]
        if len(makers) > 1 and (c != "rv.Conv2d" or p == "AvgPool2d"):  # the other rows differ by their product only
            found.append(Case("+".join(s for s in (c, n, "LIF", p) if s), rows(*makers), (2, 4, 4)))
    deep = [CONVOLUTIONS["nn.Conv2d"], NORMS["BatchNorm2d"], lif, POOLS["MaxPool2d"]] * 2
    deep += [nn.Flatten, lambda: rv.Linear(2, 3), rv.LI]
    return [*found, Case("deep", rows(*(make for make in deep if make)), (2, 4, 4))]


def _modes(case: Case) -> list[Case]:
    """A case in evaluation mode too, if that is another case."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, rv.Dropout, rv.DropConnectLinear)
    if not any(isinstance(m, kinds) for m in case.net().modules()):
        return [case]
    return [case, replace(case, name=f"{case.name}.eval", training=False)]


PLAIN_NEURONS = ("LIF", "CubaLIF", "Heaviside")  # one state, two, none: they stand for all that are their rule only
OWN = ("run", "prepare", "initial", "scan", "step", "forward", "_inputs", "_state")


def _stands_for_others(case: Case) -> bool:
    """Whether a case does something of its own: layers that are no neurons, neurons with code beside their rule, and
    of the rows of layers those that differ by more than one layer's kind."""
    kind = type(case.net())
    if issubclass(kind, rv.Neuron):
        return case.name in PLAIN_NEURONS or any(getattr(kind, n) is not getattr(rv.Neuron, n) for n in OWN)
    if not issubclass(kind, rv.Sequential):
        return not case.name.removesuffix(".eval").endswith(("1d", "3d"))
    return case.name.removesuffix(".eval") in ROWS


ROWS = (
    "nn.Linear+LIF",
    "nn.Linear+Recurrent",
    "rv.Linear+LIF+rv.Linear+LI",
    "rv.Linear+LIF+rv.Linear+Recurrent",
    "rv.Linear+LIF+rv.Linear+Recurrent.TernaryLIF",
    "rv.Linear+LIF(learned)",
    "BatchNorm1d+LIF",
    "rv.Linear+BatchNorm1d+LIF(learned)",
    "events+LIF",
    "events+Recurrent",
    "events+Conv2d+BatchNorm2d+LIF+MaxPool2d",
    "LIF+MaxPool2d",
    "BatchNorm2d+LIF",
    "nn.Conv2d+LIF+AvgPool2d",
    "nn.Conv2d+BatchNorm2d+LIF+MaxPool2d",
    "rv.Conv2d+ThresholdBatchNorm2d+LIF+AvgPool2d",
    "deep",
)

LAYERS = [mode for case in _layers() for mode in _modes(case)]
STAGES = [mode for case in [*_driven(), *_events(), *_pictures()] for mode in _modes(case)]
CASES = {case.name: case for case in [*LAYERS, *STAGES]}
KINDS = {name: case for name, case in CASES.items() if _stands_for_others(case)}


def one_by_one(net: nn.Module) -> nn.Module:
    """The layers of a `Sequential` in a network that runs each by itself; any other network as it is."""
    return _Loop(copy.deepcopy(list(net))) if type(net) is rv.Sequential else copy.deepcopy(net)


class _Loop(nn.ModuleList):
    """A loop over layers, as somebody without `ranvier.Sequential` would write it."""

    def forward(self, x: Any) -> Any:
        for layer in self:
            knows_time = any(isinstance(m, (rv.Temporal, rv.Fold)) for m in layer.modules())
            x = layer(x) if knows_time else rv.Fold(layer)(x)
        return x


def tensors(value: Any) -> list[Tensor]:
    """All tensors of an output or a state, in order of their names."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = [value[k] for k in sorted(value)]
    parts = value if isinstance(value, (tuple, list)) else ()
    return [t for part in parts for t in tensors(part)]

"""The functions that run a network with its states, called verbs: `scan`, `step`, `record` and `explain`.

`net(x)` starts every sequence from the initial states. `scan`, `step` and `record` open a `Book` for one forward pass:
every temporal layer in the network reads its state from the book, and writes its new state to the book. Nothing is
stored in the layers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ranvier.nn.recomputed import refuse_recomputation
from ranvier.nn.temporal import Temporal, here
from ranvier.notebook import table

State = dict[str, Any]
"""The state of a network: {module path: {state name: tensor [B, *features]}}."""


class Runs(Protocol):
    """A temporal layer, or a stage that runs in its place."""

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]: ...

    def explanations(self, x: Any) -> list[tuple[nn.Module, str]]: ...


@dataclass
class Book:
    """The states and records of one forward pass under a verb."""

    paths: dict[nn.Module, str]
    before: State
    after: State = field(default_factory=dict)
    names: tuple[str, ...] = ()  # states to record
    traces: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    parts: dict[str, dict[str, list[Tensor]]] = field(default_factory=dict)  # records of layers that run step by step
    notes: list[tuple[str, nn.Module, str]] | None = None  # how each layer ran, for `explain`

    @property
    def singly(self) -> bool:
        """Whether each layer must run by itself, through `run`: its states are recorded, or how it ran is noted."""
        return bool(self.names) or self.notes is not None

    def run(self, layer: Temporal, x: Any, runs: Runs) -> Any:
        """Run x through `runs` (the layer, or its stage) with the state of the layer, and store its new state."""
        if layer not in self.paths:  # a layer of another network, which is called inside this network
            return runs.run(x)[0]
        state = self.begin(layer)
        if self.notes is not None:
            self.notes += [(self.paths[part], part, why) for part, why in runs.explanations(x)]
        y, after, traces = runs.run(x, state, tuple(n for n in self.names if n in layer.records))
        self.end(layer, after, traces)
        return y

    def begin(self, layer: Temporal) -> Any:
        """Return the state from which a layer starts; None means the initial state."""
        if (path := self.paths.get(layer)) is None:
            return None
        self._refuse_again(layer, path)
        refuse_recomputation(path, self.before.get(path) is not None or bool(self.names), _VERBS)
        return self.before.get(path)

    def end(self, layer: Temporal, after: Any, traces: dict[str, Tensor] | None = None) -> None:
        """Store the new state of a layer that has run, and the states that it recorded (`traces`)."""
        if (path := self.paths.get(layer)) is not None:
            self.traces[path] = traces or {}
            if after:
                self.after[path] = after

    def passed(self, layer: nn.Module, y: Tensor) -> None:
        """Record that a layer without state ran within a stage and returned y."""
        if (path := self.paths.get(layer)) is not None:
            self._refuse_again(layer, path)
            self.traces[path] = {"z": y} if "z" in self.names else {}

    def _refuse_again(self, layer: nn.Module, path: str) -> None:
        if path in self.traces:
            raise ValueError(
                f"layer {path!r} ({type(layer).__name__}) runs twice in one forward pass, so it has no single state; "
                f"give each use a layer of its own, or call net(x), which keeps no state"
            )


@contextmanager
def _open(net: nn.Module, state: State | None = None, names: tuple[str, ...] = ()) -> Iterator[Book]:
    paths = {m: p for p, m in net.named_modules()}
    if not isinstance(state, (dict, type(None))):
        raise TypeError(
            f"state must be a dictionary {{module path: state}} as ranvier.scan returns it, got {type(state).__name__}"
        )
    known = {p for m, p in paths.items() if isinstance(m, Temporal)}
    if unknown := (state or {}).keys() - known:
        raise ValueError(
            f"state has entries for {sorted(unknown)}, but the temporal layers of this network are "
            f"{sorted(known)}; pass the state that ranvier.scan returned for this network"
        )
    with opened(Book(paths, state or {}, names=names)) as book:
        yield book


@contextmanager
def opened(book: Book) -> Iterator[Book]:
    """Within this block, the layers read their states from this book and write their new states to it."""
    outer, here.book = getattr(here, "book", None), book
    try:
        yield book
    finally:
        here.book = outer


def scan(net: nn.Module, x: Any, state: State | None = None) -> tuple[Any, State]:
    """Run a sequence from a given state, and return the output and the new state. Use it for chunks, for truncated
    BPTT, or to get the last membrane.

    net: any module whose forward pass calls temporal layers. x [T, B, *features]. state: what an earlier `scan`
    returned, or None to start from the initial state. Returns (net(x), {module path: state after the last step}).

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(torch.nn.Linear(3, 4), ranvier.LIF())
    >>> x = torch.rand(10, 2, 3)
    >>> first, state = ranvier.scan(net, x[:5])
    >>> second, state = ranvier.scan(net, x[5:], state)
    >>> bool((torch.cat([first, second]) == net(x)).all())
    True
    """
    with _open(net, state) as book:
        y = net(x)
    return y, {**book.before, **book.after}


def step(net: nn.Module, x_t: Tensor, state: State | None = None) -> tuple[Any, State]:
    """Run one step: x_t [B, *features] and the state before it -> output of the step and the state after it.

    The network sees a sequence of one step, so every network that runs under `scan` also runs here.
    """
    if isinstance(x_t, Tensor) and x_t.dim() < 2:
        raise ValueError(
            f"step: input must be one step [B, *features], got shape {tuple(x_t.shape)}; "
            f"for a single sample add the batch axis: x_t.unsqueeze(0)"
        )
    y, state = scan(net, x_t.unsqueeze(0), state)
    return _first(y), state


def scan_within(layer: nn.Module, inner: nn.Module, x: Tensor, state: State | None) -> tuple[Any, State]:
    """Compute scan(inner, x, state) for a module inside a layer that runs this module on parts of a sequence, one after
    another. If `record` is running, the records of the parts are joined.
    """
    book = getattr(here, "book", None)
    if book is None or not book.names or layer not in book.paths:
        return scan(inner, x, state)
    with _open(inner, state, book.names) as own:
        y = inner(x)
    for module, path in own.paths.items():
        parts = book.parts.setdefault(book.paths[module], {})
        for name, trace in own.traces.get(path, {}).items():
            parts.setdefault(name, []).append(trace)
        for name, deeper in own.parts.get(path, {}).items():
            parts.setdefault(name, []).extend(deeper)
    return y, {**own.before, **own.after}


def _first(y: Any) -> Any:
    return y[0] if isinstance(y, Tensor) else type(y)(_first(v) for v in y)


def record(net: nn.Module, x: Any, name: str = "v") -> dict[str, Tensor]:
    """Record a state over time in every layer that has it: {module path: [T, B, *features]}.

    name: a state of the neurons ("v", "a", ...), or "z" for the output of the layers (spikes; the membrane of a
    readout). The records are differentiable, so a regulariser may use them.

    >>> import torch, ranvier
    >>> traces = ranvier.record(ranvier.Sequential(torch.nn.Linear(3, 4), ranvier.LIF()), torch.rand(10, 2, 3), "v")
    >>> {path: tuple(v.shape) for path, v in traces.items()}
    {'1': (10, 2, 4)}
    """
    known = {n for m in net.modules() if isinstance(m, Temporal) for n in m.records}
    if name not in known:
        raise ValueError(f"record: no layer of this network has a state {name!r}; there are {sorted(known)}")
    with _open(net, names=(name,)) as book:
        net(x)
    found = {path: traces[name] for path, traces in book.traces.items() if name in traces}
    return found | {path: torch.cat(parts[name]) for path, parts in book.parts.items() if name in parts}


def detach(state: Any) -> Any:
    """Return the state, detached from its autograd graph. Use it between the chunks of truncated BPTT."""
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, dict):
        return {k: detach(v) for k, v in state.items()}
    if isinstance(state, (tuple, list)):
        return type(state)(detach(v) for v in state)
    return state


@dataclass(frozen=True)
class Explanation:
    """The result of `explain`: for each layer the backend that ran it, and the reason; print it."""

    rows: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        wide = [max(len(r[k]) for r in self.rows) for k in (0, 1)] if self.rows else [0, 0]
        return "\n".join(f"{p:<{wide[0]}}  {layer:<{wide[1]}}  {why}" for p, layer, why in self.rows)

    def _repr_html_(self) -> str:
        return table(["layer", "type", "how it runs, and why"], self.rows)


def note(layer: nn.Module, x: Any, explanation: Callable[[Any], str]) -> None:
    """Record how a layer without state runs, if `explain` is running."""
    book = getattr(here, "book", None)
    if book is not None and book.notes is not None and layer in book.paths:
        book.notes.append((book.paths[layer], layer, explanation(x)))


def explain(net: nn.Module, x: Any) -> Explanation:
    """Run the network once and report, layer by layer, which backend ran it and why."""
    with torch.no_grad(), _open(net) as book:
        book.notes = []
        net(x)
    return Explanation(tuple((path or "(the network)", type(m).__name__, why) for path, m, why in book.notes))


_VERBS = {verb.__code__ for verb in (scan, record, explain)}  # functions that open a book

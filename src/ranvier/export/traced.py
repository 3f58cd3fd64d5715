"""A network as a program of torch operations only: the result of `pt2`, which `onnx` translates."""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.nn.utils import parametrize
from torch.utils import _pytree as tree

from ranvier.backends import choose
from ranvier.convert.rate import SpikingActivation
from ranvier.export.scanned import STEPPED, Scanned, looped
from ranvier.nn.length import Whole
from ranvier.nn.verbs import scan


class _Known(nn.Module):
    """A parametrisation that always returns one tensor, its present value."""

    value: Tensor

    def __init__(self, value: Tensor):
        super().__init__()
        self.register_buffer("value", value)

    def forward(self) -> Tensor:
        return self.value


class _Sequence(nn.Module):
    """A network for whole sequences: inputs [T, B, *features] -> outputs."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, *xs: Tensor) -> tuple[Tensor, ...]:
        return _outputs(self.net(_input(xs)))


class _Step(nn.Module):
    """A network for one step: inputs [B, *features] and the state before it -> outputs and the state after it."""

    def __init__(self, net: nn.Module, inputs: int, shape: tree.TreeSpec):
        super().__init__()
        self.net, self.inputs, self.shape = net, inputs, shape

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        xs = tuple(x.unsqueeze(0) for x in given[: self.inputs])
        state = tree.tree_unflatten(list(given[self.inputs :]), self.shape)
        y, after = scan(self.net, _input(xs), state)
        return (*(v[0] for v in _outputs(y)), *(s.clone() for s in tree.tree_leaves(after)))


def _input(xs: Sequence[Tensor]) -> Any:
    """Return the input of the network: a tensor, or a tuple of several."""
    return tuple(xs) if len(xs) > 1 else xs[0]


def _outputs(y: Any) -> tuple[Tensor, ...]:
    found = tuple(y) if isinstance(y, (tuple, list)) else (y,)
    if not all(isinstance(v, Tensor) for v in found):
        raise TypeError(f"export: the network must return a tensor or a tuple of tensors, got {type(y).__name__}")
    return found


@dataclass(frozen=True)
class Traced:
    """A network as a program of torch operations only.

    program: torch's `ExportedProgram`; inputs, outputs: their names in order. A program for whole sequences has the
    input x [T, B, *features] and the output y. A program for a single step has the inputs x [B, *features] and the
    state, each named "before.PATH.NAME", and the outputs y and the state after it, each named "after.PATH.NAME".
    """

    program: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    state: dict[str, Tensor]  # the state before the first step, for one sample

    @property
    def steps(self) -> int | None:
        """The number of steps of its input; None if it is free, or if the program is one single step."""
        return None if self.state else _fixed(self.program, 0)

    def initial(self, batch: int) -> dict[str, Tensor]:
        """Return the state before the first step: {name of an input: tensor}."""
        return {k: v.expand(batch, *v.shape[1:]).clone() for k, v in self.state.items()}

    def save(self, path: str | Path) -> None:
        """Write the file; `torch.export.load` can read it without Ranvier."""
        torch.export.save(self.program, path, extra_files={"names.txt": "\n".join((*self.inputs, *self.outputs))})


def pt2(net: nn.Module, sample: Any, *, step: bool = False) -> Traced:
    """Export a network as a program of torch operations; torch can load its file without Ranvier.

    net: any module that calls temporal layers; it is exported in evaluation mode (`net.eval()`). sample: an input [T,
    B, *features], or a tuple of them; only shape and dtype matter. The number of samples is free, and so is the number
    of steps unless a layer fixes it. step: export one step, with the state as inputs and outputs.

    A layer that cannot be exported raises a ValueError with its path and the reason.

    >>> import torch, ranvier
    >>> net, x = ranvier.Sequential(torch.nn.Linear(3, 4), ranvier.LIF()), torch.rand(10, 2, 3)
    >>> whole = ranvier.export.pt2(net, x)
    >>> bool((whole.program.module()(x)[0] == net(x)).all())
    True
    >>> one = ranvier.export.pt2(net, x, step=True)
    >>> one.inputs, one.outputs
    (('x', 'before.1.v'), ('y', 'after.1.v'))
    >>> y, v = one.program.module()(x[0], *one.initial(2).values())
    """
    many = isinstance(sample, (tuple, list))
    xs = [_enough(x) for x in (sample if many else (sample,))]
    net = copy.deepcopy(net).eval().requires_grad_(False)
    _prepare(net, step)
    module: nn.Module = _Sequence(net)
    state: dict[str, Tensor] = {}
    with torch.no_grad(), choose.forced(Scanned()):
        if step:
            before = _before(net, xs)
            state, shape = _named(before), tree.tree_structure(before)
            module, xs = _Step(net, len(xs), shape), [x[0] for x in xs]
        count = len(xs)
        given = (*xs, *state.values())
        many_outputs = len(module(*given)) - len(state)
        axes = (0,) if step else (1,) if _counting(net, xs) else (0, 1)
        free = [dict.fromkeys(axes, torch.export.Dim.AUTO) for _ in given]
        program = _exported(module, given, free)
    found = Traced(
        program,
        (*_numbered("x", count), *(f"before.{k}" for k in state)),
        (*_numbered("y", many_outputs), *(f"after.{k}" for k in state)),
        {f"before.{k}": v[:1] for k, v in state.items()},
    )
    if (samples := _fixed(program, 0 if step else 1)) is not None:
        raise ValueError(f"export: the network works for {samples} samples only: a layer or module reads their number")
    return found


def _enough(x: Any) -> Tensor:
    """Return a sample with at least two steps and two samples: torch treats a size of one as a constant."""
    if not isinstance(x, Tensor) or x.dim() < 3 or not x.numel():
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"export: sample must be an input [T, B, *features], or a tuple of them, got {got}")
    for axis in (0, 1):
        x = x if x.shape[axis] > 1 else torch.cat([x, x], axis)
    return x


def _prepare(net: nn.Module, step: bool) -> None:
    """Turn layers that run step by step into loops; raise an error for layers that cannot run a single step."""
    for path, layer in list(net.named_modules()):
        if step and isinstance(layer, Whole):
            raise ValueError(_refusal(path, layer, "needs all steps of a sequence at once"))
        if isinstance(layer, SpikingActivation) and layer.start is None:
            raise ValueError(
                f"export: layer {path!r} (SpikingActivation) begins at random, but a file cannot; give it start=0.5"
            )
        if parametrize.is_parametrized(layer):
            known: Any = layer.parametrizations
            for name in list(known):  # torch's own removal would change the user's layer too: both share a class
                known[name] = _Known(getattr(layer, name).detach())
        if isinstance(layer, STEPPED):
            layer.run = partial(looped, layer)  # type: ignore[method-assign]


def _before(net: nn.Module, xs: list[Tensor]) -> Any:
    """Return the state of a network before the first step."""
    for path in _counting(net, xs):
        layer = net.get_submodule(path)
        raise ValueError(_refusal(path, layer, "has a parameter for each step, so it must know which step it is"))
    state = scan(net, _input([x[:0] for x in xs]))[1]
    return tree.tree_map(torch.clone, state)  # torch merges inputs that are the same tensor


def _counting(net: nn.Module, xs: list[Tensor]) -> list[str]:
    """Return the layers that count steps, since they have a parameter for each step."""
    state = scan(net, _input(xs))[1]
    return [path for path, inner in state.items() if isinstance(inner, dict) and "step" in inner]


def _refusal(path: str, layer: nn.Module, reason: str) -> str:
    name = f"layer {path!r} ({type(layer).__name__})" if path else type(layer).__name__
    return f"export: {name} {reason}; export whole sequences, with step=False"


def _named(state: Any) -> dict[str, Tensor]:
    """Return the tensors of a state by their paths: "1.v"."""
    found = {}
    for path, value in tree.tree_flatten_with_path(state)[0]:
        keys = [part.key for part in path]  # type: ignore[attr-defined]
        found[".".join(k for k in keys if k)] = value
    return found


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}.{k}" for k in range(count)]


def _exported(module: nn.Module, given: tuple[Tensor, ...], free: list[dict]) -> torch.export.ExportedProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(module, given, dynamic_shapes=(tuple(free),))
        except GuardOnDataDependentSymNode as problem:
            said = "export: a layer reads the value of a tensor and branches on it, which a file cannot; see the cause"
            raise ValueError(said) from problem
    program.graph.eliminate_dead_code()  # such as reads of the initial state: torch could not load a file with them
    modules = [m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    targets = {str(n.target) for m in modules for n in m.graph.nodes}
    own = {t for t in targets if t.startswith("ranvier")}
    if own:
        raise ValueError(f"export: {', '.join(sorted(own))} is an operator of Ranvier, which torch alone does not have")
    return program


def _fixed(program: torch.export.ExportedProgram, axis: int) -> int | None:
    """Return the size of an axis of the first input if it is fixed; otherwise None."""
    (first, *_) = program.graph_signature.user_inputs
    node = next(n for n in program.graph.nodes if n.name == first)
    size: Any = node.meta["val"].shape[axis]
    return size if type(size) is int else size.node.maybe_as_int()

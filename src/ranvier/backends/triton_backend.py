"""A rule on the GPU: steps printed for Triton, one program per block of neurons, time inside."""

import math
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ranvier.backends.backend import Kernels
from ranvier.derive.rule import Rule
from ranvier.derive.source import lines, load, operand
from ranvier.derive.trace import Graph, Operand


@cache
def processors(device: torch.device) -> int:
    """How many processors share the programs; one where Triton's interpreter runs them in turn."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def block(neurons: int, processors: int) -> tuple[int, int]:
    """Neurons per program, and warps.

    A program waits for memory at each step, and all programs wait at once. So few neurons are shared by all processors;
    many come four a thread, for 16 bytes are the largest load and more would not leave the registers to a large rule.

    >>> block(4096, 132), block(1 << 20, 132)
    ((64, 1), (512, 4))
    """
    size = min(max(64, 1 << (-(-neurons // processors) - 1).bit_length()), 512)
    return size, max(1, size // 128)


def _tuple(operands: Sequence[Operand]) -> str:
    """A tuple of blocks; what is the same for all neurons is spread over the block."""
    return f"({''.join(f'spread({operand(a)}, inputs[0]), ' for a in operands)})"


def _step(
    rule: Rule, name: str, arguments: Mapping[str, Sequence[str]], graph: Graph, results: Sequence[Sequence[Operand]]
) -> str:
    reads = graph.reads
    body = [f"{n} = {whole}[{k}]" for whole, names in arguments.items() for k, n in enumerate(names) if n in reads]
    body += [*lines(graph), f"return {', '.join(map(_tuple, results))}"]
    return "\n".join(["@triton.jit", f"def {name}({', '.join(arguments)}):", *(f"    {line}" for line in body)]) + "\n"


def _print(rule: Rule, wanted: Sequence[bool]) -> str:
    """The three steps of a rule, and which states backward sees again. wanted: which inputs and parameters need a
    gradient.
    """
    i, s, o = len(rule.inputs), len(rule.states), len(rule.outputs)
    names = rule.arguments
    given = {"inputs": names[:i], "state": names[i : i + s], "parameters": names[i + s :]}
    graph = rule.backward(wanted)
    n_inputs = sum(wanted[:i])
    seeds = {"g_outputs": [f"g{k}" for k in range(o)], "carry": [f"g{o + k}" for k in range(s)]}
    gradients = graph.outputs[:s], graph.outputs[s : s + n_inputs], graph.outputs[s + n_inputs :]
    places = rule.retraced(graph)
    again, after = {**given, "state": [given["state"][k] for k in places]}, [rule.after[k] for k in places]
    chosen = "".join(f"state[{k}], " for k in places)
    return "\n\n".join(
        (
            _step(rule, "step", given, rule.step, (rule.outputs, rule.after)),
            f"SEEN = tl.constexpr({len(places)})\n\n\n@triton.jit\ndef seen(state):\n    return ({chosen})\n",
            _step(rule, "advance", again, rule.step.keeping(after), (after,)),
            _step(rule, "adjoint", {**again, **seeds}, graph, gradients),
        )
    )


_modules: dict[tuple, ModuleType] = {}


def module(rule: Rule, dtype: torch.dtype, wanted: tuple[bool, ...], more: str = "") -> ModuleType:
    """The kernels of a rule for these gradients; more: the text of further loops, to stand at the end."""
    at = (rule.key, dtype, wanted, more)
    if at not in _modules:
        kernels = (resources.files("ranvier.backends") / "triton_kernels.py").read_text()
        if dtype == torch.float64:
            kernels = kernels.replace("REAL = tl.constexpr(tl.float32)", "REAL = tl.constexpr(tl.float64)")
        steps = f"# {'-' * 64} the steps of {rule.name}\n{_print(rule, wanted)}"
        _modules[at] = load(f"{rule.name}_gpu", "\n\n".join((kernels, steps, more)))
    return _modules[at]


def launch(kernel: Any, programs: int, like: Tensor, *arguments: Any, **constants: Any) -> None:
    """Run so many programs of a kernel on the device of `like`: Triton itself takes the current one.

    Fusion is off: spikes must equal those of the reference, and those of backward those of forward.
    """
    with torch.cuda.device_of(like):
        kernel[(programs,)](*arguments, enable_fp_fusion=False, **constants)


def forward(
    rule: Rule, inputs: Sequence[Tensor], initial: Tensor, params: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """inputs [T, N] each, initial [S, N], params [1] or [N] each -> outputs [T, N] each, final [S, N]."""
    steps, neurons = inputs[0].shape
    code = module(rule, initial.dtype, (True,) * len(inputs) + (False,) * len(params))
    outputs, final = [torch.empty_like(inputs[0]) for _ in rule.outputs], torch.empty_like(initial)
    wide = tuple(int(p.numel() != 1) for p in params)
    size, warps = block(neurons, processors(initial.device))
    launch(
        code.forward, -(-neurons // size), initial,
        tuple(inputs), initial, tuple(params), tuple(outputs), final, steps, neurons,
        wide=wide, S=len(rule.states), BLOCK=size, num_warps=warps,
    )  # fmt: skip
    return outputs, final


def backward(
    rule: Rule,
    inputs: Sequence[Tensor],
    initial: Tensor,
    params: Sequence[Tensor],
    g_outputs: Sequence[Tensor],
    g_final: Tensor,
    wanted: tuple[bool, ...],
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Gradients of the wanted inputs [T, N] each, of the initial state [S, N], of the wanted parameters [P, N]."""
    steps, neurons = inputs[0].shape
    code, count = module(rule, initial.dtype, wanted), sum(wanted[len(inputs) :])
    segment = math.isqrt(max(steps - 1, 0)) + 1
    segments = -(-steps // segment)
    g_inputs = [torch.empty_like(x) for x, want in zip(inputs, wanted, strict=False) if want]
    g_initial = torch.empty_like(initial)
    g_params = initial.new_zeros(count, neurons)
    seen = code.SEEN.value
    marks, trail = initial.new_empty(segments, seen, neurons), initial.new_empty(segment, seen, neurons)
    size, warps = block(neurons, processors(initial.device))
    launch(
        code.backward, -(-neurons // size), initial,
        tuple(inputs), initial, tuple(params), tuple(g_outputs), g_final, tuple(g_inputs), g_initial, g_params,
        marks, trail, steps, neurons, segment, segments,
        wide=tuple(int(p.numel() != 1) for p in params), S=len(rule.states), P=count,
        BLOCK=size, num_warps=warps,
    )  # fmt: skip
    return g_inputs, g_initial, g_params


class Triton(Kernels):
    """A block of neurons per program, on CUDA tensors; on CPU tensors in Triton's interpreter, for checking."""

    name, description = "triton", "Triton, one program per block of neurons"
    forward, backward = staticmethod(forward), staticmethod(backward)

    def lacks(self, device: str) -> str | None:
        if device == "cuda" or (device == "cpu" and asked_to_interpret()):
            return None
        return f"serves cuda tensors, but this one is on {device}"


def asked_to_interpret() -> bool:
    """Whether Triton's interpreter stands in for a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"

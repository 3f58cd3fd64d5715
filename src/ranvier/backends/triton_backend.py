"""The GPU backend: the steps of a rule are printed for Triton, and each program runs a block of neurons through
time.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import numba_backend, triton_linear
from ranvier.backends.backend import Kernels
from ranvier.backends.triton_block import Held, block, segment
from ranvier.derive.rule import Rule
from ranvier.derive.source import lines, load, operand, undefined
from ranvier.derive.trace import Graph, Operand


@cache
def processors(device: torch.device) -> int:
    """Return how many processors the GPU has; 1 for Triton's interpreter, which runs one program after the other."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def spread_tuple(operands: Sequence[Operand]) -> str:
    """Return the text of a tuple of blocks; a value that is the same for all neurons is broadcast to a block."""
    return f"({''.join(f'spread({operand(a)}, inputs[0]), ' for a in operands)})"


def _step(
    rule: Rule, name: str, arguments: Mapping[str, Sequence[str]], graph: Graph, results: Sequence[Sequence[Operand]]
) -> str:
    reads = graph.reads
    body = [f"{n} = {whole}[{k}]" for whole, names in arguments.items() for k, n in enumerate(names) if n in reads]
    body += [*lines(graph), f"return {', '.join(map(spread_tuple, results))}"]
    return "\n".join(["@triton.jit", f"def {name}({', '.join(arguments)}):", *(f"    {line}" for line in body)]) + "\n"


def _print(rule: Rule, wanted: Sequence[bool]) -> str:
    """Return the text of the functions `step`, `advance` and `adjoint` of a rule, and of `seen`, which selects the
    states that backward computes again.

    wanted: which inputs and parameters need a gradient.
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


def ops(dtype: torch.dtype) -> str:
    """Return the text of the ops of a rule in one precision.

    If `triton_ops.py` does not define an op, libdevice's function of that name is used; in Triton's interpreter, which
    has no libdevice, torch's function.
    """
    text = (resources.files("ranvier.backends") / "triton_ops.py").read_text()
    from triton import knobs

    one = "{0} = by_torch({0!r})" if knobs.runtime.interpret else "{0} = libdevice.{0}"
    text += "".join(f"\n{one.format(name)}\n" for name in undefined(text))
    if dtype == torch.float64:
        text = text.replace("REAL = tl.constexpr(tl.float32)", "REAL = tl.constexpr(tl.float64)")
    return text


_modules: dict[tuple, ModuleType] = {}


def module(rule: Rule, dtype: torch.dtype, wanted: tuple[bool, ...], more: str = "") -> ModuleType:
    """Return the kernels of a rule for these gradients; more: the text of further loops, which is put at the end."""
    at = (rule.key, dtype, wanted, more)
    if at not in _modules:
        kernels = numba_backend.loops("ranvier.backends", "triton_kernels.py")
        steps = f"# {'-' * 64} the steps of {rule.name}\n{_print(rule, wanted)}"
        _modules[at] = load(f"{rule.name}_gpu", "\n\n".join((ops(dtype), kernels, steps, more)))
    return _modules[at]


def launch(kernel: Any, programs: int, like: Tensor, *arguments: Any, **constants: Any) -> None:
    """Run `programs` programs of a kernel on the device of `like`; Triton itself would use the current device.

    Fused multiply-add is off, and libdevice keeps subnormal numbers: spikes must equal those of the reference, and the
    spikes that backward computes again must equal those of forward.
    """
    with torch.cuda.device_of(like):
        kernel[(programs,)](*arguments, enable_fp_fusion=False, enable_reflect_ftz=False, **constants)


def _strides(rows: Sequence[Tensor]) -> tuple[int, ...]:
    """Return the stride from step to step of each tensor [T, N]; it is 0 for a tensor [1, N], which is the same at all
    steps.
    """
    return tuple(0 if len(x) == 1 else x.stride(0) for x in rows)


class _Launch:
    """A rule on some neurons: the module of its kernels, and the constants with which they are launched."""

    def __init__(self, rule: Rule, inputs: Sequence[Tensor], like: Tensor, params: Sequence[Tensor], wanted: Any):
        self.code, self.like = module(rule, like.dtype, wanted), like
        self.steps, self.neurons = inputs[0].shape
        rows, states = len(inputs) + len(rule.outputs), len(rule.states)
        graph = rule.backward(wanted)
        held = Held(rows, self.code.SEEN.value, 2 * states + sum(wanted[len(inputs) :]), len(graph.ops))
        sizes = inputs[0].dtype.itemsize, like.dtype.itemsize
        most = block(self.neurons, processors(like.device), held, *sizes)
        self.block = most._replace(SEGMENT=segment(self.steps, most.SEGMENT))
        self.given = tuple(inputs), _strides(inputs)
        self.params = tuple(params)
        wide = tuple(map(int, numba_backend.per_neuron(params)))
        self.constants = {"wide": wide, "S": len(rule.states), **self.block._asdict()}

    def __call__(self, kernel: Any, *arguments: Any, **constants: Any) -> None:
        programs = -(-self.neurons // self.block.BLOCK)
        launch(kernel, programs, self.like, *arguments, self.steps, self.neurons, **self.constants, **constants)

    def marks(self) -> Tensor:
        """Allocate the marks: the states at the start of each segment, and at each of the steps after the last
        segment.
        """
        count = sum(divmod(self.steps, self.block.SEGMENT))
        return self.like.new_empty(count, self.code.SEEN.value, self.neurons)


def forward(
    rule: Rule, inputs: Sequence[Tensor], initial: Tensor, params: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Run a rule: inputs [T, N] each, initial [S, N], params [1] or [N] each -> outputs [T, N] each, final [S, N].

    Each row of an input must be contiguous. The stride from row to row is arbitrary; it may be 0 if all steps are the
    same.
    """
    wanted = (True,) * len(inputs) + (False,) * len(params)
    outputs, final, _ = _forward(_Launch(rule, inputs, initial, params, wanted), rule, initial, None)
    return outputs, final


def forward_marked(
    rule: Rule, inputs: Sequence[Tensor], initial: Tensor, params: Sequence[Tensor], wanted: tuple[bool, ...]
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the result of `forward`, and the marks: saved states, which `backward` would otherwise have to compute
    again.
    """
    run = _Launch(rule, inputs, initial, params, wanted)
    return _forward(run, rule, initial, run.marks())


def _forward(run: _Launch, rule: Rule, initial: Tensor, marks: Any) -> tuple[list[Tensor], Tensor, Any]:
    like, final = run.given[0][0], torch.empty_like(initial)
    outputs = [like.new_empty(like.shape) for _ in rule.outputs]
    run(run.code.forward, *run.given, initial, run.params, tuple(outputs), final, marks)
    return outputs, final, marks


def backward(
    rule: Rule,
    inputs: Sequence[Tensor],
    initial: Tensor,
    params: Sequence[Tensor],
    g_outputs: Sequence[Tensor],
    g_final: Tensor,
    wanted: tuple[bool, ...],
    marks: Tensor | None = None,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the gradients of the wanted inputs [T, N] each, of the initial state [S, N], and of the P wanted
    parameters [P, N].

    g_outputs are [T, N] each, or [1, N] if all steps are the same. marks are those of `forward_marked`; if they are
    None, they are computed here.
    """
    run, count = _Launch(rule, inputs, initial, params, wanted), sum(wanted[len(inputs) :])
    if marks is None:
        marks = run.marks()
        if marks.numel():
            run(run.code.mark, *run.given, initial, run.params, marks)
    g_inputs = [x.new_empty(x.shape) for x, want in zip(inputs, wanted, strict=False) if want]
    g_initial, g_params = torch.empty_like(initial), initial.new_empty(count, run.neurons)
    run(
        run.code.backward, *run.given, run.params, tuple(g_outputs), _strides(g_outputs), g_final,
        tuple(g_inputs), g_initial, g_params, marks, P=count, maxnreg=255,  # without it, registers would spill
    )  # fmt: skip
    return g_inputs, g_initial, g_params


class Triton(Kernels):
    """The GPU backend: each program runs a block of neurons. CPU tensors run in Triton's interpreter, for tests."""

    name, description = "triton", "Triton, one program per block of neurons"
    still = strided = True
    forward, forward_marked = staticmethod(forward), staticmethod(forward_marked)
    backward, recurrence = staticmethod(backward), staticmethod(triton_linear.recurrence)

    def lacks(self, device: str) -> str | None:
        if device == "cuda":
            return None
        if device == "cpu" and asked_to_interpret():
            return outdated()
        return f"runs only cuda tensors, but this one is on {device}"


def asked_to_interpret() -> bool:
    """Whether the user has chosen Triton's interpreter, which runs kernels on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def outdated() -> str | None:
    """Return the reason why Triton's interpreter cannot run here; None if it can."""
    import numpy
    import triton

    first = tuple(tuple(int(n) for n in v.split(".")[:2]) for v in (triton.__version__, numpy.__version__))
    if first[0] <= (3, 6) and first[1] >= (2, 4):
        return (
            f"is Triton {triton.__version__}'s interpreter here, which numpy {numpy.__version__} breaks (its arrays of "
            f"one number can no longer be used as numbers); run `pip install 'numpy<2.4'`"
        )
    return None

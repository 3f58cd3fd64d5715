"""What the kernels of each rule become on an H100: compiled for sm_90, with no GPU present.

`python benchmarks/compiled.py [RULE...]` prints a table; `--write` puts that of all rules into RESULTS.md.
Bytes are those a neuron and a step move in the loop over segments, counted in the compiled code, beside each
input, output and gradient once (backward of a linear rule needs no inputs).
"""

import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ["TRITON_INTERPRET"] = "0"

import page
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import make_backend
from triton.runtime.jit import JITFunction, create_function_from_signature

import ranvier as rv
from ranvier.backends import triton_backend

H100, PROCESSORS = GPUTarget("cuda", 90, 32), 132
HEAD = (
    "| rule | float32: forward bytes | backward bytes | a load | registers: forward | backward | all learned "
    "| bfloat16: forward bytes | backward bytes | a load | spilled |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


class Compiled(NamedTuple):
    """One kernel as a launch would make it."""

    name: str
    ptx: str
    registers: int
    spilled: int  # bytes of a thread
    loads: tuple[int, ...]  # bytes of each load in the loop that moves most
    stores: tuple[int, ...]
    constants: dict[str, Any]

    @property
    def bytes(self) -> float:
        """Per neuron and step, in that loop."""
        each = self.constants["BLOCK"] // (32 * self.constants["num_warps"])
        return (sum(self.loads) + sum(self.stores)) / (each * self.constants["SEGMENT"])


def compiled(call: Callable[[], Any]) -> list[Compiled]:
    """The kernels that a call launches, compiled and not launched."""
    backend, made = make_backend(H100), []

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        bound, specialization, options = create_function_from_signature(self.signature, self.params, backend)(
            *args, **kwargs
        )
        options, signature, constants, attributes = self._pack_args(backend, kwargs, bound, specialization, options)
        source = ASTSource(self, signature, constants, attributes)
        asm = triton.compile(source, target=H100, options=options.__dict__).asm
        made.append(Compiled(self.__name__, asm["ptx"], *_used(asm["cubin"]), *_loop(asm["ptx"]), kwargs))

    before, processors = JITFunction.run, triton_backend.processors
    JITFunction.run, triton_backend.processors = run, lambda device: PROCESSORS
    try:
        call()
    finally:
        JITFunction.run, triton_backend.processors = before, processors
    return made


def _used(cubin: bytes) -> tuple[int, int]:
    """Registers, and bytes spilled."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack, local = (int(re.search(rf"{word}:(\d+)", said)[1]) for word in ("REG", "STACK", "LOCAL"))
    return registers, stack + local


def _loop(ptx: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Bytes of each load and each store of the loop that moves most."""
    lines, labels, best = ptx.splitlines(), {}, ((), ())
    for i, line in enumerate(lines):
        if begins := re.match(r"(\$L__BB\w+):", line):
            labels[begins[1]] = i
        elif (back := re.search(r"bra(?:\.uni)?\s+(\$L__BB\w+)", line)) and back[1] in labels:
            moved: dict[str, list[int]] = {"ld": [], "st": []}
            for inside in lines[labels[back[1]] : i]:
                if found := re.search(r"\b(ld|st)\.global(?:\.v(\d))?\.[a-z](\d+)\b", inside):
                    moved[found[1]].append(int(found[2] or 1) * int(found[3]) // 8)
            best = max(best, (tuple(moved["ld"]), tuple(moved["st"])), key=lambda two: sum(map(sum, two)))
    return best


def scan(
    neuron: rv.Neuron, dtype: torch.dtype, learned: bool, steps: int = 96, neurons: int = 1 << 20
) -> list[Compiled]:
    """The kernels of a training step: forward, backward."""
    rule = neuron.bound(())
    inputs = [torch.empty(steps, neurons, dtype=dtype, device="meta") for _ in rule.inputs]
    initial = torch.empty(len(rule.states), neurons, device="meta")
    params = [torch.empty(1, device="meta") for _ in rule.params]
    wanted = (True,) * len(inputs) + tuple(learned and p not in rule.numbers for p in rule.params)

    def call() -> None:
        *_, marks = triton_backend.forward_marked(rule, inputs, initial, params, wanted)
        grads = [inputs[0]] * len(rule.outputs)
        triton_backend.backward(rule, inputs, initial, params, grads, initial, wanted, marks)

    return compiled(call)


def _load(forward: Compiled, backward: Compiled) -> str:
    """Bytes of a load of each kernel's loop: of the inputs and gradients, which are most of what is loaded."""
    found = [Counter(k.loads).most_common(1)[0][0] for k in (forward, backward)]
    return str(found[0]) if found[0] == found[1] else f"{found[0]}, {found[1]}"


def row(kind: type[rv.Neuron]) -> str:
    """The line of one rule."""
    rule = kind().bound(())
    (forward, back), (_, learned), (half, half_back) = (
        scan(kind(), torch.float32, False), scan(kind(), torch.float32, True), scan(kind(), torch.bfloat16, False)
    )  # fmt: skip
    there, again = len(rule.inputs) + len(rule.outputs), 2 * len(rule.inputs) + len(rule.outputs)
    cells = [
        kind.__name__,
        *(f"{k.bytes:g} of {w * n}" for k, w, n in ((forward, 4, there), (back, 4, again))),
        _load(forward, back),
        *(str(k.registers) for k in (forward, back, learned)),
        *(f"{k.bytes:g} of {w * n}" for k, w, n in ((half, 2, there), (half_back, 2, again))),
        _load(half, half_back),
        str(max(k.spilled for k in (forward, back, learned, half, half_back))),
    ]
    return f"| {' | '.join(cells)} |"


def kinds() -> list[type[rv.Neuron]]:
    """Every neuron."""
    found = {v for v in vars(rv).values() if inspect.isclass(v) and issubclass(v, rv.Neuron) and v is not rv.Neuron}
    return sorted(found, key=lambda kind: kind.__name__)


if __name__ == "__main__":
    asked, lines = [name for name in sys.argv[1:] if name != "--write"], [f"Triton {triton.__version__}.\n", HEAD]
    for kind in kinds():
        if kind.__name__ in asked or not asked:
            lines.append(row(kind))
            print(lines[-1], flush=True)
    if "--write" in sys.argv and not asked:
        page.write("compiled", "\n".join(lines))

"""Compile a C file by gcc on this machine, run it on integers, and measure it."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ranvier.export.parts import Array
from ranvier.export.program import Program

STRICT = ("-std=c99", "-Wall", "-Werror", "-O2")
SANITIZED = (*STRICT, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

# A program that reads T, B and the inputs [T, B, n]. It writes the processor cycles of all steps, the outputs
# [T, B, m], and, if they are counted, the number of saturated values of each layer.
HARNESS = """
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static uint64_t ticks(void) {{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return (uint64_t)clock();
#endif
}}
int main(void) {{
    int32_t shape[2];
    if (fread(shape, 4, 2, stdin) != 2) return 2;
    const long count = (long)shape[0] * shape[1];
    {x} *x = malloc(count * {upper}_INPUTS * sizeof *x + 1);
    {y} *y = malloc(count * {upper}_OUTPUTS * sizeof *y + 1);
    {name} *s = malloc(sizeof *s);
    if (!x || !y || !s) return 3;
    if (fread(x, sizeof *x * {upper}_INPUTS, count, stdin) != (size_t)count) return 2;
    uint64_t spent = 0;
    for (int b = 0; b < shape[1]; b++) {{
        {name}_reset(s);
        for (int t = 0; t < shape[0]; t++) {{
            const long at = (long)t * shape[1] + b;
            const uint64_t begin = ticks();
            {name}_step(s, x + at * {upper}_INPUTS, y + at * {upper}_OUTPUTS);
            spent += ticks() - begin;
        }}
    }}
    fwrite(&spent, 8, 1, stdout);
    fwrite(y, sizeof *y * {upper}_OUTPUTS, count, stdout);
#ifdef {upper}_COUNT
    for (int k = 0; k < {upper}_LAYERS; k++) {{
        const uint32_t saturated = {name}_saturated(k);
        fwrite(&saturated, 4, 1, stdout);
    }}
#endif
    free(x); free(y); free(s);
    return 0;
}}
"""


@dataclass(frozen=True)
class Measured:
    """Result of a run. y [T, B, *outputs]: the output of the C file; cycles: processor cycles per step, None if they
    cannot be measured; flash: bytes of code and constants in the object file; ram: bytes of the state; saturated:
    {path of a layer: how many of its numbers saturated}, without layers in which none did, or None if the flags do not
    count them.
    """

    y: Array
    cycles: float | None
    flash: int | None
    ram: int
    saturated: dict[str, int] | None = None


def compiler() -> str | None:
    """Return the path of gcc, or None if there is none."""
    return shutil.which("gcc")


def compile_and_run(program: Program, x: Array, flags: Sequence[str] = STRICT) -> Measured:
    """Compile the C file on this machine and run it on integers x [T, B, *features].

    flags: if they contain `program.counting`, the C file also counts the numbers that saturate.

    If the compiler or a sanitizer fails, a RuntimeError contains its message. If there is no gcc, a FileNotFoundError
    is raised.
    """
    gcc = compiler()
    if gcc is None:
        raise FileNotFoundError("there is no gcc here to compile the C file with; install one, or use program(x)")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        file = program.save(here / f"{program.name}.c")
        said = HARNESS.format(
            name=program.name, upper=program.name.upper(), x=program.before.type, y=program.after.type
        )
        (here / "main.c").write_text(f'#include "{file.name}"\n{said}')
        _call([gcc, *flags, "main.c", "-o", "main"], here)
        _call([gcc, *STRICT[:-1], "-Os", "-c", file.name, "-o", "alone.o"], here)
        given = np.array(x.shape[:2], np.int32).tobytes() + x.astype(_dtype(program.before.type)).tobytes()
        out = _call([str(here / "main")], here, given)
        flash = _flash(here)
    kind = np.dtype(_dtype(program.after.type))
    numbers = x.shape[0] * x.shape[1] * program.after.size
    y = np.frombuffer(out, kind, numbers, offset=8).astype(np.int64)
    counts = np.frombuffer(out, np.uint32, offset=8 + numbers * kind.itemsize)
    spent, steps = int(np.frombuffer(out, np.uint64, 1)[0]), x.shape[0] * x.shape[1]
    cycles = spent / steps if steps and _counts_cycles() else None
    shape = (*x.shape[:2], *program.after.shape)
    saturated = {part.path: int(n) for part, n in zip(program.parts, counts, strict=False) if n}
    counted = saturated if program.counting in flags else None
    return Measured(y.reshape(shape), cycles, flash, sum(f.bytes for f in program.fields), counted)


def _call(command: list[str], folder: Path, given: bytes | None = None) -> bytes:
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout


def _dtype(kind: str) -> type:
    return {"int8_t": np.int8, "int16_t": np.int16, "int32_t": np.int32}[kind]


def _counts_cycles() -> bool:
    import platform

    return platform.machine() in ("x86_64", "AMD64")


def _flash(folder: Path) -> int | None:
    """Return the bytes of code and constants, as reported by the program `size`."""
    size = shutil.which("size")
    if size is None:
        return None
    text, data = _call([size, "alone.o"], folder).decode().splitlines()[1].split()[:2]
    return int(text) + int(data)

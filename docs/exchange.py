"""Trains the recipe `digits`, exports it as C with weights of 8 bits, and runs the C file on all test images: the
figures of docs/exchange.md. It needs gcc, and takes half a minute.

python docs/exchange.py
"""

import tempfile
from pathlib import Path

import torch

from ranvier import export
from ranvier.recipes import Digits
from ranvier.train import run


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        recipe = Digits()
        result = run(recipe, Path(folder) / "digits", seed=0, accelerator="cpu")
    splits, generator = recipe.splits(), torch.Generator().manual_seed(0)
    sample, x = (recipe.encode(part.x, generator) for part in (splits.train, splits.test))
    program = export.c(result.net, sample, bits=8)
    found = export.compile_and_run(program, program.encode(x))
    classes = torch.from_numpy(found.y).double().mean(0).argmax(1)
    right = int((classes == splits.test.labels).sum())
    print(f"floating point {result.accuracy:.1%}, as C {right / len(classes):.1%} ({right} of {len(classes)})")
    print(f"flash {found.flash:,} bytes, RAM {found.ram:,} bytes")


if __name__ == "__main__":
    main()

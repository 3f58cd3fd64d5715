"""Inputs and outputs of `ranvier convert`: a model that is found by its name, its weights, and the results."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from ranvier.convert.report import Report
from ranvier.extras import needed
from ranvier.lookup import lookup


def find(name: str) -> nn.Module:
    """Return the model named by `file.py:name` or `package.module:name`: a module, or the result of a function without
    arguments.
    """
    found = lookup(name, "MODEL")
    model = found() if callable(found) and not isinstance(found, nn.Module) else found
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module or a function that makes one, got {type(model).__name__}")
    return model


def read_weights(model: nn.Module, path: Path) -> None:
    """Load weights from a safetensors file into a model. Lazy layers must know their shapes. Nothing is unpickled."""
    with needed("a file of weights"):
        from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        model.load_state_dict(load_file(path))
    except Exception as problem:  # not a safetensors file, or the weights of another model
        raise ValueError(
            f"{path} does not contain the weights of this model: {problem}. Write them with "
            f"safetensors.torch.save_file(model.state_dict(), {str(path)!r})"
        ) from problem


def check_fits(model: nn.Module, name: str, x: Tensor) -> None:
    """Check that the model accepts images like x and returns scores; otherwise raise an error that describes its
    input.
    """
    try:
        with torch.no_grad():
            scores = model.eval()(x)
    except Exception as problem:  # layers may raise any error for input of the wrong size
        raise ValueError(f"the model does not accept the images of {name}, {_shape(x)}: {problem}") from problem
    if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != len(x):
        got = _shape(scores) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"the model must return scores [B, classes], but for images {_shape(x)} it returned {got}")


def _shape(x: Tensor) -> str:
    return f"[B, {', '.join(map(str, x.shape[1:]))}]"


def points(steps: str) -> list[int]:
    """Return numbers of steps from text such as "8,16,32"."""
    try:
        return [int(t) for t in steps.split(",")]
    except ValueError:
        raise ValueError(f"--steps must be whole numbers separated by commas, such as 8,16,32, got {steps!r}") from None


def write(folder: Path, spiking: nn.Module, found: Report) -> None:
    """Write weights.safetensors (with the thresholds) and report.json."""
    with needed("a file of weights"):
        from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in spiking.state_dict().items()}, folder / "weights.safetensors")
    (folder / "report.json").write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")

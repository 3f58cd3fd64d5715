"""Packages that only some parts need, and the extra that installs each: `pip install "ranvier[train]"`."""

from collections.abc import Iterator
from contextlib import contextmanager

# To add an optional package, add a line here; pyproject.toml lists the packages of an extra.
EXTRAS = {
    "typer": "train", "rich": "train", "lightning": "train", "torchmetrics": "train", "sklearn": "train",
    "safetensors": "train", "tomlkit": "train", "jinja2": "train", "matplotlib": "plot", "cycler": "plot",
    "nir": "nir", "onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx",
    "h5py": "events", "tensorboard": "tensorboard", "wandb": "wandb",
    "optuna": "sweep", "neurobench": "neurobench",
}  # fmt: skip


@contextmanager
def needed(what: str) -> Iterator[None]:
    """Imports inside this block need an extra: if its package is missing, the error explains how to install it.

    >>> with needed("the report"):
    ...     import json
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        raise ModuleNotFoundError(
            f'{what} needs the package {package}, which is not installed: pip install "ranvier[{EXTRAS[package]}]"',
            name=package,
        ) from None

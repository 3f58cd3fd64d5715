"""The folder of one run: the names of its files, and how they are written (completely or not at all) and read (without
unpickling).
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ranvier.extras import needed


@dataclass(frozen=True)
class Folder:
    """The files of a run; the object itself contains only the path of the folder."""

    path: Path

    @classmethod
    def create(cls, path: str | Path) -> Folder:
        """Make the folder of a new run; raise FileExistsError if it is not empty."""
        path = Path(path)
        cls.refuse_taken(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"the run's folder {path} cannot be made: {error.strerror}; choose another --out") from None
        return cls(path)

    @staticmethod
    def refuse_taken(path: Path) -> None:
        """Raise FileExistsError if this path is a file or a folder that is not empty."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(f"{path} exists already; choose another --out, or continue with --resume {path}")

    @classmethod
    def open(cls, path: str | Path) -> Folder:
        """Open the folder of an earlier run; raise FileNotFoundError if it contains no run."""
        folder = cls(Path(path))
        if not folder.config.is_file():
            raise FileNotFoundError(f"{path} is no run: it has no {folder.config.name}; `ranvier train` makes one")
        return folder

    @classmethod
    def free(cls, path: str | Path) -> Path:
        """Return `path`, or the first of `path-2`, `path-3`, ... that does not exist."""
        path, number = Path(path), 2
        candidate = path
        while candidate.exists() and (not candidate.is_dir() or any(candidate.iterdir())):
            candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
        return candidate

    def refuse_inside(self, what: str, name: Any) -> None:
        """Raise ValueError if the file or module `name` lies inside this folder: the folder may have been downloaded,
        and code in it must not be run.
        """
        where = str(name).rpartition(":")[0]
        parts = [where] if where.endswith(".py") else where.split(".")
        every = [Path()] if where.endswith(".py") else [Path(entry) for entry in sys.path]
        candidates = [place.joinpath(*parts[:k]) for place in every for k in range(1, len(parts) + 1)]
        home = self.path.resolve()
        if where and any(p.resolve().is_relative_to(home) for c in candidates for p in (c, c.with_suffix(".py"))):
            raise ValueError(f"the {what} {name} lies inside the run's folder and is not run; move it elsewhere")

    config = property(lambda self: self.path / "config.toml")
    weights = property(lambda self: self.path / "weights.safetensors")
    checkpoint = property(lambda self: self.path / "checkpoint.ckpt")
    metrics = property(lambda self: self.path / "metrics.csv")
    result = property(lambda self: self.path / "result.json")
    report = property(lambda self: self.path / "report.html")

    @property
    def finished(self) -> bool:
        return self.result.is_file()

    def write_config(self, config: Mapping[str, Any]) -> None:
        with needed("a run"):
            import tomlkit

        write(self.config, tomlkit.dumps(config))

    def read_config(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.config.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{self.config} is not valid TOML: {error}") from None

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write(self.metrics, text.getvalue())

    def read_metrics(self) -> list[dict[str, float]]:
        try:
            with self.metrics.open(encoding="utf-8", newline="") as file:
                return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        except (ValueError, TypeError, csv.Error) as error:
            raise ValueError(f"{self.metrics} is damaged: {error}") from None

    def write_result(self, result: Mapping[str, Any]) -> None:
        write(self.result, json.dumps(result, indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        try:
            result = json.loads(self.result.read_text(encoding="utf-8"))
            _check_result(result)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{self.result} is damaged: {error}; remove it to end this run again") from None
        return result

    def write_weights(self, net: nn.Module) -> None:
        self.write_state(net.state_dict())

    def write_state(self, state: Mapping[str, Tensor]) -> None:
        with needed("a file of weights"):
            from safetensors.torch import save

        # clones, because safetensors raises an error for tensors that share memory, such as tied weights
        write(self.weights, save({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}))

    def read_weights(self, net: nn.Module) -> None:
        """Load the weights into `net`; raise ValueError if they belong to another network."""
        with needed("a file of weights"):
            from safetensors.torch import load

        if not self.weights.is_file():
            raise FileNotFoundError(f"{self.path} is not finished: continue with `ranvier train --resume {self.path}`")
        try:
            state = load(self.weights.read_bytes())
        except Exception as error:  # a damaged file can raise any error
            raise ValueError(f"{self.weights} is damaged, or is no safetensors file: {error}") from None
        try:
            net.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{self.weights} does not fit the net of {self.config}: {error}") from None


NUMBERS = ("samples", "training_seconds", "loss", "epochs", "parameters", "accuracy", "correct")
TABLES = ("beside", "firing_rate")  # dictionaries of numbers


def _check_result(result: Any) -> None:
    """Raise ValueError if this is not the result of a run."""
    if not isinstance(result, dict) or not {"samples", "training_seconds"} <= set(result):
        raise ValueError("it does not contain the result of a run")
    if ("accuracy" in result) != ("correct" in result) or not {"accuracy", "loss"} & set(result):
        raise ValueError("it has no loss, or accuracy without the number of right answers")
    tables = {f"{name} of {key}": v for name in TABLES for key, v in dict(result.get(name, {})).items()}
    for name, value in ({k: result[k] for k in NUMBERS if k in result} | tables).items():
        if not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number, got {value!r}")
    if not all(isinstance(sentence, str) for sentence in list(result.get("told", ()))):
        raise ValueError("told must be sentences")


def write(path: Path, content: str | bytes) -> None:
    """Write a file completely or not at all: it is written under another name, then renamed. An OSError names the
    file.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        kept = "; the one before it is kept" if path.exists() else ""
        raise OSError(error.errno, f"{path} cannot be written: {error.strerror}{kept}") from None

"""Files that a run writes while it trains: a row of figures per epoch, and checkpoints written completely or not at
all.
"""

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor

from ranvier.extras import needed
from ranvier.train.folder import Folder, write

with needed("training"):
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Checkpoint
    from lightning.pytorch.plugins.io import TorchCheckpointIO
    from lightning.pytorch.utilities.exceptions import SIGTERMException


class History(Checkpoint):
    """One row of figures per epoch, in metrics.csv and in the checkpoint, so a resumed run has all rows.

    It is a `Checkpoint`, because Lightning runs checkpoints after the callbacks that log something.
    """

    def __init__(self, folder: Folder):
        self.folder, self.rows = folder, []
        self._before, self._started = 0.0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        seconds = round(self._seconds(), 3)
        self.rows.append({"epoch": trainer.current_epoch + 1, "seconds": seconds, **scores, "lr": lr})
        if trainer.is_global_zero:
            self.folder.write_metrics(self.rows)

    def _seconds(self) -> float:
        return self._before + (time.perf_counter() - self._started if self._started else 0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self._before = list(state_dict["rows"]), state_dict["seconds"]


class Keeper(Checkpoint):
    """Saves the state after every epoch, after every `every` updates (0: never), and after the signal SIGTERM."""

    def __init__(self, path: Path, every: int = 0):
        self.path, self.every, self._kept = path, every, 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.is_last_batch or trainer.fit_loop._should_accumulate():
            return  # gradients that still accumulate are not saved; the end of an epoch has its own checkpoint
        stop = trainer.received_sigterm and trainer.world_size == 1
        due = self.every and trainer.global_step % self.every == 0 and trainer.global_step != self._kept
        if stop or due:
            self._kept = trainer.global_step
            trainer.save_checkpoint(self.path)
        if stop:
            raise SIGTERMException

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.path)
        if trainer.received_sigterm and trainer.world_size == 1:
            raise SIGTERMException


class SafeFiles(TorchCheckpointIO):
    """Checkpoints written completely or not at all; reading unpickles only tensors and plain values."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(path, map_location)


NEEDED = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "place"}


def read_checkpoint(path: str | Path, map_location: Any = None) -> dict[str, Any]:
    """Return the content of a checkpoint; no code in it is run. A damaged file, or a file that is not a checkpoint of a
    run, raises a ValueError.
    """
    try:
        with ZipFile(path) as file:
            if name := file.testzip():  # torch itself does not compare checksums
                raise ValueError(f"the checksum of {name} is wrong")
        found = torch.load(path, map_location=map_location or "cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can raise any error
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(
            f"{path} is damaged, or is no checkpoint ({reason}); remove it to train this run from the beginning"
        ) from error
    missing = NEEDED - set(found) if isinstance(found, dict) else NEEDED
    if missing:
        raise ValueError(f"{path} is no checkpoint of a run: it has no {', '.join(sorted(missing))}")
    return found


def check_fits(kept: Mapping[str, Tensor], own: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise ValueError if the weights of a checkpoint belong to another network."""
    there, here = ({name: list(w.shape) for name, w in weights.items()} for weights in (kept, own))
    for name in [*here, *there]:
        if there.get(name) != here.get(name):
            got, wanted = (f"{shapes[name]}" if name in shapes else "none" for shapes in (there, here))
            raise ValueError(
                f"{path} is the checkpoint of another net: its {name.removeprefix('net.')} is {got}, this net has "
                f"{wanted}; undo the change of the net, or remove the checkpoint to train from the beginning"
            )

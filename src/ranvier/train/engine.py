"""The adapter to Lightning: a recipe's net, data and optimiser as a module, loaders and callbacks. Lightning trains.

Everything random in an epoch is drawn from (seed, epoch, batch), never from what went before: so a run that was
stopped anywhere and goes on from its last whole epoch ends with the same weights, bit for bit.
"""

import hashlib
import io
import logging
import signal
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from ranvier.extras import needed
from ranvier.train.folder import Folder, write

with needed("training"):
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback, Checkpoint, ProgressBar
    from lightning.pytorch.plugins.io import TorchCheckpointIO


class Plan(Protocol):
    """What the engine asks of a recipe."""

    @property
    def seed(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def batch(self) -> int: ...

    def build(self) -> nn.Module: ...
    def augment(self, x: Tensor, generator: Generator) -> Tensor: ...
    def encode(self, x: Tensor, generator: Generator) -> Tensor: ...
    def loss(self) -> Any: ...
    def metric(self) -> Any: ...
    def optimiser(self, parameters: Iterable[nn.Parameter], updates: int) -> tuple[Any, Any]: ...


class Split(Protocol):
    """One part of a data set: x `[N, *features]`, labels `[N]`."""

    @property
    def x(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...


def mix(*parts: object) -> int:
    """A seed of 63 bits from any parts: nearby parts give unrelated seeds."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()) >> 1


class Batches:
    """Mini-batches of tensors in memory: slices of one permutation an epoch, no work per sample.

    With a seed the order is new every epoch, and the same for the same seed and epoch; without, it is that of the data.
    """

    def __init__(self, split: Split, batch: int, seed: int | None = None):
        self.split, self.batch, self.seed, self.epoch = split, batch, seed, 0
        self.sampler, self.batch_sampler = self, None  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.split.labels) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.seed is None:
            yield from zip(self.split.x.split(self.batch), self.split.labels.split(self.batch), strict=True)
            return
        generator = Generator().manual_seed(mix(self.seed, "order", self.epoch))
        for chosen in torch.randperm(len(self.split.labels), generator=generator).split(self.batch):
            yield self.split.x[chosen], self.split.labels[chosen]


class Engine(LightningModule):
    """A recipe's net with its loss, score and optimiser, in Lightning's words."""

    def __init__(self, plan: Plan, net: nn.Module):
        super().__init__()
        self.plan, self.net = plan, net
        self.loss, self.metric = plan.loss(), plan.metric()

    def draws(self, part: str, index: int) -> Generator:
        """The random numbers of one batch, whatever was drawn before."""
        return Generator(self.device).manual_seed(mix(self.plan.seed, part, self.current_epoch, index))

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(mix(self.plan.seed, "epoch", self.current_epoch))  # for dropout and the like

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        draws = self.draws("train", index)
        x, labels = self.plan.augment(batch[0], draws), batch[1]
        return self._score("train", self.plan.encode(x, draws), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return self._score("validation", self.plan.encode(batch[0], self.draws("validation", index)), batch[1])

    def _score(self, part: str, x: Tensor, labels: Tensor) -> Tensor:
        traces = self.net(x)
        loss = self.loss(traces, labels)
        scores = {f"{part}_loss": loss.detach(), f"{part}_accuracy": self.metric(traces.detach(), labels)[0]}
        self.log_dict(scores, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def configure_optimizers(self) -> Any:
        optimiser, schedule = self.plan.optimiser(self.parameters(), int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class History(Callback):
    """One row of figures an epoch, in metrics.csv and in the checkpoint: a resumed run has them all."""

    def __init__(self, folder: Folder):
        self.folder, self.rows = folder, []
        self._before, self._started = 0.0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before, self._started = self.rows[-1]["seconds"] if self.rows else 0.0, time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seconds = self._before + time.perf_counter() - self._started
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append({"epoch": trainer.current_epoch + 1, "seconds": round(seconds, 3), **scores, "lr": lr})
        self.folder.write_metrics(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


class EveryEpoch(Checkpoint):
    """Keeps the state after the last whole epoch. Lightning runs it after the other callbacks."""

    def __init__(self, path: Path):
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.path)


class SafeFiles(TorchCheckpointIO):
    """Checkpoints written whole or not at all, and read without unpickling anything but tensors and plain values."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)


def new_net(plan: Plan, sample: Tensor) -> nn.Module:
    """The plan's net with weights drawn from its seed; `sample` `[1, *features]` gives lazy layers their sizes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        net = plan.build().eval()
        with torch.no_grad():
            net(plan.encode(sample, Generator().manual_seed(0)))
    return net.train()


def fit(
    plan: Plan,
    net: nn.Module,
    train: Split,
    validation: Split,
    folder: Folder,
    callbacks: Sequence[Callback] = (),
    **trainer: Any,
) -> list[dict[str, float]]:
    """Trains a plan's net (see `new_net`), or goes on from the folder's checkpoint; returns a row of figures an epoch.

    `trainer` goes to `lightning.Trainer` (accelerator, precision, ...). The weights end up in weights.safetensors.
    KeyboardInterrupt passes through, with the last whole epoch in the checkpoint.
    """
    history = History(folder)
    loaders = Batches(train, plan.batch, plan.seed), Batches(validation, plan.batch)
    with _quiet(), torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as if nothing had been
        lightning = Trainer(
            max_epochs=plan.epochs,
            callbacks=[history, EveryEpoch(folder.checkpoint), *callbacks],
            plugins=[SafeFiles()],
            **{"devices": 1, **trainer},
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            logger=False,
            default_root_dir=folder.path,
        )
        with _interruptible():
            resumed = folder.checkpoint if folder.checkpoint.is_file() else None
            lightning.fit(Engine(plan, net), *loaders, ckpt_path=resumed, weights_only=True)
    net.cpu()
    folder.write_weights(net)
    return history.rows


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice is for those who write its modules: here it is noise."""
    logs = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [log.level for log in logs]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            for log in logs:
                log.setLevel(logging.ERROR)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning answers Ctrl-C by leaving the process; give the caller the KeyboardInterrupt instead."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
        raise

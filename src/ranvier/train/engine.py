"""The adapter to Lightning, which runs the training: it wraps a recipe's network, data and optimiser as a module,
loaders and callbacks. All random numbers depend on (seed, epoch, batch) only, not on earlier draws.

A run can therefore be stopped at any point, also within an epoch. If it continues from its checkpoint, it ends with the
same weights, bit for bit.
"""

import copy
import logging
import signal
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from ranvier.extras import needed
from ranvier.train.answer import answer
from ranvier.train.batches import Batch, Batches, batches, mix
from ranvier.train.folder import Folder
from ranvier.train.truncated import Truncated

with needed("training"):
    from lightning.pytorch import LightningModule
    from lightning.pytorch.callbacks import Callback, ProgressBar

    from ranvier.train.keep import History, Keeper, SafeFiles, check_fits, read_checkpoint
    from ranvier.train.scale import STRATEGIES, Scale


class Plan(Protocol):
    """The attributes and methods of a recipe that the engine uses."""

    @property
    def seed(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def time_first(self) -> bool: ...
    @property
    def whole(self) -> bool: ...

    def build(self) -> nn.Module: ...
    def augment(self, x: Tensor, generator: Generator) -> Tensor: ...
    def encode(self, x: Tensor, generator: Generator) -> Tensor: ...
    def loss(self) -> Any: ...
    def metric(self) -> Any: ...
    def optimiser(self, parameters: Iterable[nn.Parameter], updates: int) -> tuple[Any, Any]: ...


class Engine(LightningModule):
    """A recipe's network with its loss, score and optimiser, as a LightningModule."""

    def __init__(self, plan: Plan, net: nn.Module, train: Batches | None = None, tbptt: int = 0):
        super().__init__()
        self.plan, self.net, self.train_batches = plan, net, train
        self.loss, self.metric = plan.loss(), plan.metric()
        self.truncated = Truncated(net, self.loss, tbptt) if tbptt else None
        self.sums: dict[str, float] = {}  # sums of the scores over the samples of this epoch, and "samples"
        self.fresh: dict[str, Any] = {}  # state of the learning rate schedule before the first update
        self.trained: dict[str, Tensor] = {}  # the final weights of the network, complete on every process

    def configure_model(self) -> None:
        """If each process stores only a part of the weights, shard the blocks of the network, and then the rest
        of it.
        """
        if self.device_mesh is not None and not isinstance(self.net, FSDPModule):
            mesh = self.device_mesh["data_parallel"]
            for block in [*(m for m in self.net.children() if isinstance(m, nn.Sequential)), self.net]:
                fully_shard(block, mesh=mesh)

    def on_fit_end(self) -> None:
        state = self.trainer.strategy.lightning_module_state_dict()
        if self.device_mesh is not None:
            state = self.trainer.strategy.broadcast(state)
        self.trained = {name.removeprefix("net."): v for name, v in state.items() if name.startswith("net.")}

    def draws(self, part: str, index: int) -> Generator:
        """Return the random numbers of one batch, independent of earlier draws; each process has its own."""
        own = (self.global_rank,) if self.global_rank else ()
        return Generator(self.device).manual_seed(mix(self.plan.seed, part, self.current_epoch, index, *own))

    def inputs(self, part: str, batch: Batch, index: int) -> Tensor:
        """Return the input of the network for a batch: `[T, B, *features]`."""
        draws = self.draws(part, index)
        x = self.plan.augment(batch[0], draws) if part == "train" else batch[0]
        return self.plan.encode(x, draws)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        x = self.inputs("train", batch, index)
        torch.manual_seed(int(self.draws("dropout", index).initial_seed()))  # for dropout and similar layers
        if self.truncated:
            (traces, loss), rest = self.truncated.forward(x, *batch[1:]), batch[1:]
        else:
            traces, rest = answer(self.net, x, *batch[1:])
            loss = self.loss(traces, *rest)
        share = self._add(traces.detach(), loss.detach(), rest, index)
        return loss * share if share != 1.0 else loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if self.truncated:
            self.truncated.backward(loss)
        else:
            super().backward(loss, *args, **kwargs)

    def on_train_batch_end(self, outputs: Any, batch: Batch, index: int) -> None:
        if self.trainer.is_last_batch:
            self._tell("train")

    def on_validation_epoch_start(self) -> None:
        self.sums = {}

    def validation_step(self, batch: Batch, index: int) -> None:
        traces, rest = answer(self.net, self.inputs("validation", batch, index), *batch[1:])
        self._add(traces, self.loss(traces, *rest), rest, index, self.trainer.val_dataloaders)

    def on_validation_epoch_end(self) -> None:
        self._tell("validation")

    def on_train_epoch_end(self) -> None:
        self.sums = {}

    def _add(self, traces: Tensor, loss: Tensor, rest: Batch, index: int, loader: Any = None) -> float:
        """Add the scores of a batch to the sums of the epoch; return this process's part of the batch times the number
        of processes.

        rest: labels and, if recordings differ in length, lengths.
        """
        loader = loader if loader is not None else self.train_batches
        share = loader.share(index) if loader is not None else 1.0
        samples = len(rest[0]) if share else 0
        scores = {"loss": float(loss)}
        if self.metric is not None:
            scores["accuracy"] = float(self.metric(traces, *rest)[0])
        for name, value in scores.items():
            self.sums[name] = self.sums.get(name, 0.0) + samples * value
        self.sums["samples"] = self.sums.get("samples", 0.0) + samples
        return share

    def _tell(self, part: str) -> None:
        """Report an epoch's scores, over all processes, to Lightning."""
        sums = {name: sum(each) for name, each in self._of_all().items()}
        samples = sums.pop("samples")
        means = {f"{part}_{name}": value / samples for name, value in sums.items()}
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=1)

    def _of_all(self) -> dict[str, list[float]]:
        """Return for each score a list with its sum on each process."""
        own = torch.tensor(list(self.sums.values()), dtype=torch.float64)
        every: Any = self.all_gather(own.to(self.device)) if self.trainer.world_size > 1 else own.unsqueeze(0)
        return dict(zip(self.sums, every.t().tolist(), strict=True))

    def configure_optimizers(self) -> Any:
        optimiser, schedule = self.plan.optimiser(self.parameters(), int(self.trainer.estimated_stepping_batches))
        if schedule is None:
            return optimiser
        self.fresh = schedule.state_dict()
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trainer = self.trainer
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        middle = 0 < done < trainer.num_training_batches
        place = {"next": done, "sums": self._of_all()} if middle else {"next": 0, "sums": {}}
        checkpoint["place"] = place | {"epochs": self.plan.epochs}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "state_dict" in checkpoint:
            check_fits(checkpoint["state_dict"], self.state_dict(), self.trainer.ckpt_path or "")
        place = checkpoint["place"]
        # if there are now fewer processes, each adds up the sums of several earlier ones
        mine = slice(self.global_rank, None, self.trainer.world_size)
        self.sums = {name: sum(each[mine]) for name, each in place["sums"].items()}
        self.before = place["epochs"]
        if self.train_batches is not None:
            self.train_batches.start = place["next"]

    def on_train_start(self) -> None:
        # if the number of epochs was changed, replace the schedule of the checkpoint by that of the longer run
        if getattr(self, "before", self.plan.epochs) != self.plan.epochs:
            schedule: Any = self.lr_schedulers()
            kept = {name: schedule.state_dict()[name] for name in ("last_epoch", "_step_count")}
            schedule.load_state_dict(self.fresh | kept)


def new_net(plan: Plan, sample: Tensor) -> nn.Module:
    """Return the plan's network with weights drawn from its seed. It runs once on `sample` `[B, *features]`, so that
    lazy layers get their sizes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        net = plan.build().eval()
        with torch.no_grad():
            net(plan.encode(sample, Generator().manual_seed(0)))
    return net.train()


def fit(
    plan: Plan,
    net: nn.Module,
    train: Any,
    validation: Any,
    folder: Folder,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> list[dict[str, float]]:
    """Train a plan's network (see `new_net`), or continue from the folder's checkpoint; return a row of figures per
    epoch.

    train, validation: parts of a data set, see `batches`. `settings` are those of `Scale`. The final weights are
    written to weights.safetensors. A KeyboardInterrupt is raised again, and the last checkpoint is kept.
    """
    scale = Scale(**settings)
    history = History(folder)
    with quiet(), torch.random.fork_rng(devices=[]):  # the caller's random state does not change
        trainer = scale.trainer(
            folder.path,
            max_epochs=plan.epochs,
            callbacks=[*callbacks, history, Keeper(folder.checkpoint, scale.keep)],
            plugins=[SafeFiles()],
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        )
        place: Any = {"time_first": plan.time_first, "rank": trainer.global_rank, "world": trainer.world_size}
        drawn = batches(train, plan.batch, plan.seed, workers=scale.workers, **place)
        checked = batches(validation, plan.batch, workers=scale.workers, **place)
        if scale.compile:
            net.compile()
        with _interruptible():
            resumed = folder.checkpoint if folder.checkpoint.is_file() else None
            sharded = scale.strategy in STRATEGIES
            engine = Engine(plan, copy.deepcopy(net) if sharded else net, drawn, scale.tbptt)
            if sharded and resumed:
                # Lightning has separate code for loading sharded networks, so damage or a wrong network is found here
                check_fits(read_checkpoint(resumed)["state_dict"], engine.state_dict(), resumed)
            trainer.fit(engine, drawn, checked, ckpt_path=resumed, weights_only=True)
        leader = trainer.is_global_zero
    net.cpu()
    if sharded:
        net.load_state_dict(engine.trained)
    if leader:
        folder.write_state(engine.trained)
    return history.rows


@contextmanager
def quiet() -> Iterator[None]:
    """Hide messages of Lightning that are only useful to authors of its modules."""
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
    """Raise KeyboardInterrupt in the caller on Ctrl-C; Lightning itself would exit the process."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
        raise

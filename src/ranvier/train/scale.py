"""The settings with which Lightning runs a training: devices, precision, checkpoints and output."""

import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ranvier.extras import EXTRAS, needed

with needed("training"):
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch import Trainer
    from lightning.pytorch import loggers as lightning_loggers
    from lightning.pytorch.accelerators import AcceleratorRegistry
    from lightning.pytorch.profilers import SimpleProfiler
    from lightning.pytorch.strategies import ModelParallelStrategy

# For each logger: the package that it needs, and a function that makes it for the folder of a run.
LOGGERS = {
    "csv": (None, lambda folder: lightning_loggers.CSVLogger(folder, name="", version="log")),
    "tensorboard": ("tensorboard", lambda folder: lightning_loggers.TensorBoardLogger(folder, name="", version="log")),
    "wandb": ("wandb", lambda folder: lightning_loggers.WandbLogger(save_dir=folder, name=folder.name)),
}

# Strategies that Lightning does not know by name. fsdp: torch's fully_shard, which also runs on CPUs.
STRATEGIES = {
    "fsdp": lambda world: ModelParallelStrategy(
        data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False
    )
}

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true", "transformer-engine")
SHORT = ("32", "16", "bf16", "64")  # short names that Lightning accepts for some precisions


@dataclass(frozen=True)
class Scale:
    """The settings of a run that are not part of the recipe.

    Five settings are those of Lightning. accelerator: cpu, cuda, .... devices: number of devices per machine. nodes:
    number of machines. strategy: ddp (every process stores all weights) or fsdp (each stores a part of them).
    precision: 32-true, bf16-mixed, ....

    accumulate: batches per update. clip: the largest norm of a gradient (0: no limit). compile: use torch.compile on
    the network. tbptt: number of steps through which gradients flow back (0: all); only these steps need memory.
    workers: number of processes that read a Dataset. keep: number of updates between additional checkpoints (0: only
    after each epoch). logger: csv, tensorboard or wandb, in addition to metrics.csv. profile: write the time of each
    part to profile.txt.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    accumulate: int = 1
    clip: float = 0.0
    compile: bool = False
    tbptt: int = 0
    workers: int = 0
    keep: int = 0
    logger: str = ""
    profile: bool = False

    def __post_init__(self) -> None:
        for name, least in (("devices", 1), ("nodes", 1), ("accumulate", 1), ("tbptt", 0), ("workers", 0), ("keep", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0.0 <= self.clip < float("inf"):
            raise ValueError(f"clip must be a number >= 0 (0: gradients are not clipped), got {self.clip}")
        if self.logger and self.logger not in LOGGERS:
            raise ValueError(f"logger must be one of {', '.join(LOGGERS)}, got {self.logger!r}")
        if self.tbptt and self.world > 1:
            raise ValueError("tbptt runs in one process: leave out devices and nodes, or tbptt")
        if self.strategy.split("_")[0] not in ("auto", "ddp", "fsdp"):
            raise ValueError(f"strategy must be ddp or fsdp (auto: the usual one), got {self.strategy!r}")
        if self.precision not in PRECISIONS + SHORT:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")

    @property
    def world(self) -> int:
        """Number of processes that train."""
        return self.devices * self.nodes

    def settings(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, for config.toml."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Scale, name)}

    def check(self) -> None:
        """Raise a ValueError of one sentence if this machine cannot run these settings; nothing is written."""
        package = LOGGERS[self.logger][0] if self.logger else None
        if package and importlib.util.find_spec(package) is None:
            extra = EXTRAS[package]
            raise ModuleNotFoundError(f'logger {self.logger} needs {package}: pip install "ranvier[{extra}]"')
        here = [name for name, known in sorted(AcceleratorRegistry.items()) if known["accelerator"].is_available()]
        if self.accelerator not in ("auto", *here, *["gpu"] * bool({"cuda", "mps"} & {*here})):
            raise ValueError(f"there is no accelerator {self.accelerator!r} on this machine; it has {', '.join(here)}")
        self.trainer()

    def trainer(self, folder: Path | None = None, **more: Any) -> Trainer:
        """Return Lightning's trainer; raise a ValueError of one sentence if it refuses these settings."""
        extras: dict[str, Any] = {"logger": False}
        if folder is not None and self.logger:
            extras["logger"] = LOGGERS[self.logger][1](folder)
        if folder is not None and self.profile:
            extras["profiler"] = SimpleProfiler(dirpath=folder, filename="profile")
        try:
            return Trainer(
                accelerator=self.accelerator,
                devices=self.devices,
                num_nodes=self.nodes,
                strategy=STRATEGIES[self.strategy](self.world) if self.strategy in STRATEGIES else self.strategy,
                precision=self.precision,  # pyright: ignore[reportArgumentType]  # Lightning checks it
                accumulate_grad_batches=self.accumulate,
                gradient_clip_val=self.clip or None,
                enable_model_summary=False,
                enable_checkpointing=folder is not None,
                use_distributed_sampler=False,  # `Batches` divides the samples among the processes
                num_sanity_val_steps=0,
                log_every_n_steps=10,
                default_root_dir=folder,
                **{"enable_progress_bar": False, **extras, **more},
            )
        except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
            raise ValueError(f"these settings do not work here: {_sentence(error)}") from error


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.split(". ")[0].rstrip(".")

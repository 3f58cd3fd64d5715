"""Detect runs that go wrong: a loss that is not finite ends the run; layers that die or saturate are reported at
once.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from ranvier.doctor import ALWAYS, CHECKS, diagnose
from ranvier.extras import needed
from ranvier.nn.padded import masked, within
from ranvier.train.regularise import spiking_layers, watch

with needed("training"):
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback

TOLD = {check.name: check for check in CHECKS if check.name in ("dead", "saturated")}
GLANCE = 50  # on a GPU the loss is checked once per 50 batches, because reading it makes the GPU wait


class Diverged(ArithmeticError):
    """The loss became NaN or infinite; the message names the epoch, the batch and possible cures."""


class Health(Callback):
    """Checks each loss and, once per epoch on the first validation batch, the spikes of each layer.

    say: a function that is called with a sentence when a layer is dead or saturated, once per layer. found: these
    sentences. The callback also logs `rate LAYER`, the spikes per neuron and step.
    """

    def __init__(self, say: Callable[[str], None]):
        self.say, self.found = say, []
        self._open = ExitStack()
        self._spikes: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        asked = pl_module.device.type == "cpu" or batch_idx % GLANCE == 0 or trainer.is_last_batch
        if asked and not torch.isfinite(outputs["loss"]):
            raise Diverged(self._words(trainer, pl_module, float(outputs["loss"]), batch, batch_idx))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == 0 and spiking_layers(pl_module.net):
            self._spikes = self._open.enter_context(watch(pl_module.net))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._open.close()
        for path, z in self._spikes.items():
            seen = z[within(batch[2], len(z))] if len(batch) > 2 else z.flatten(0, 1)
            each = (seen != 0).float().mean(0).flatten()  # timed spikes are not 1, but they are nonzero
            layer = f"{type(pl_module.net.get_submodule(path)).__name__} {path}".strip()
            pl_module.log(f"rate {layer}", each.mean(), on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
            shares = {"dead": float((each == 0).float().mean()), "saturated": float((each > ALWAYS).float().mean())}
            for name, least in (("dead", 0.99), ("saturated", 0.3)):
                if shares[name] >= least:
                    self._tell(layer, name, shares[name], trainer)
        self._spikes = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._open.close()

    def _tell(self, layer: str, name: str, share: float, trainer: Trainer) -> None:
        check = TOLD[name]
        seen = check.seen.format(silent=share, saturated=share)
        if trainer.is_global_zero and not any(said.startswith(f"{layer} is {name}") for said in self.found):
            self.found.append(f"{layer} is {name} after epoch {trainer.current_epoch + 1}: {seen}; {check.advice}")
            self.say(self.found[-1])

    def _words(self, trainer: Trainer, module: Any, loss: float, batch: Any, index: int) -> str:
        x = module.inputs("train", batch, index)
        said = f"the loss became {loss} in epoch {trainer.current_epoch + 1}, batch {index + 1}"
        if not torch.isfinite(x).all():
            return f"{said}: the input of the network contains NaN or inf; look for it in the data"
        advice = next(check.advice for check in CHECKS if check.name == "not finite")
        where = ""
        if spiking_layers(module.net) and torch.is_grad_enabled():
            with masked(module.net, x, batch[2] if len(batch) > 2 else None) as x:
                findings = diagnose(module.net, x, batch[1], lambda y, labels: module.loss(y, *batch[1:])).findings
            ill = [f"layer {f.path or '(the network)'}: {f.seen}" for f in findings if f.name == "not finite"]
            where = f" ({'; '.join(ill[:3])})" if ill else ""
        return f"{said}{where}: {advice} (clip=1.0, or --clip 1)"

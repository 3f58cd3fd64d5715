"""One progress bar for the whole run if the output is a terminal, and otherwise a line after some epochs."""

from typing import Any

from ranvier.extras import needed

with needed("training"):
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ProgressBar
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINES = 10  # lines of output per run without a terminal


class OneBar(ProgressBar):
    """Shows the epoch, the progress, the latest validation accuracy, the elapsed time and the remaining time."""

    def __init__(self, console: Console):
        super().__init__()
        self.console = console
        self.bar: Progress | None = None

    def disable(self) -> None:
        """Print nothing; Lightning calls this in all processes except the first."""
        self.console = Console(quiet=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.console.is_terminal:
            return
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]:>3}/{task.fields[epochs]}"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.fields[score]}", style="bold"),
            TimeElapsedColumn(),
            TextColumn("left", style="dim"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            refresh_per_second=8,
        )
        self.task = self.bar.add_task(
            "",
            total=trainer.estimated_stepping_batches,
            completed=trainer.global_step,
            epoch=trainer.current_epoch + 1,
            epochs=trainer.max_epochs,
            score="",
        )
        self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self.bar:
            self.bar.update(self.task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 0
        found = trainer.callback_metrics
        score = f"loss {float(found['train_loss']):.3f}  validation "
        score += "(trained on) " if pl_module.plan.whole else ""
        judged = found.get("validation_accuracy")
        score += f"{float(found['validation_loss']):.3f}" if judged is None else f"{float(judged):.2%}"
        if self.bar:
            self.bar.update(self.task, epoch=min(epoch + 1, epochs), score=score)
        elif epoch == epochs or epoch % max(1, epochs // LINES) == 0:
            self.console.print(f"epoch {epoch}/{epochs}  {score}", highlight=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.bar:
            self.bar.stop()
            self.bar = None

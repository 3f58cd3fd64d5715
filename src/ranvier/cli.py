"""The `ranvier` command: train, eval, explain, doctor, recipes. A command is a typed function, named in COMMANDS."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

if TYPE_CHECKING:
    from ranvier.recipes import Recipe
    from ranvier.train.folder import Folder

# Read once, when torch is loaded: huge pages halve the cost of fresh memory, and idle OpenMP threads that sleep
# instead of spinning leave the cores to the kernels.
ENVIRONMENT = {"THP_MEM_ALLOC_ENABLE": "1", "OMP_WAIT_POLICY": "passive"}

out, err = Console(highlight=False), Console(stderr=True, highlight=False)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name; `ranvier recipes` lists them.")]
MaybeRecipe = Annotated[str | None, typer.Argument(metavar="RECIPE", help="Its name; `ranvier recipes` lists them.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any field of the recipe.")]
Data = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where the data set lies, if it is a file.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]


def train(
    recipe: MaybeRecipe = None,
    epochs: Annotated[int | None, typer.Option(help="Times through the training data.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples per update.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same weights.")] = None,
    gradient: Annotated[str | None, typer.Option(help="eventprop or surrogate, where a recipe has both.")] = None,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="Folder to make; else runs/RECIPE.")] = None,
    data: Data = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="cpu, cuda, ...; else the best there is.")] = None,
    precision: Annotated[str | None, typer.Option(help="bf16-mixed, ... as in Lightning; else 32-true.")] = None,
) -> None:
    """Train a network, test it, and write a report of it.

    The run's folder holds config.toml, weights.safetensors, metrics.csv, result.json and report.html.
    Stopped by Ctrl-C or otherwise, it goes on from its last whole epoch: ranvier train --resume RUN.

    Examples: ranvier train digits, or ranvier train digits --epochs 5 --set net.hidden=256 --out runs/wide
    """
    from ranvier.train.folder import Folder

    _set_environment()
    shortcuts = {"epochs": epochs, "lr": lr, "batch": batch, "seed": seed, "gradient": gradient}
    changes = {name: value for name, value in shortcuts.items() if value is not None} | _pairs(settings)
    if resume is None:
        plan = _recipe(recipe, changes)
        splits, net = _prepare(plan, data)  # before the folder is made: a mistake leaves nothing behind
        folder = Folder.create(out or Folder.free(Path("runs") / plan.name))
        trainer = {"accelerator": accelerator or "auto", "precision": precision or "32-true"}
        _write_config(folder, plan, trainer, data)
    else:
        if recipe or changes or out or accelerator or precision:
            raise ValueError("--resume goes on with a run as it was begun; leave out RECIPE, --out and all settings")
        folder = Folder.open(resume)
        plan, trainer, known = _read_config(folder)
        if folder.finished:
            _last_lines(folder)
            return
        splits, net = _prepare(plan, data or known)
    _train(plan, net, splits, folder, **trainer)


def evaluate(run: Run, data: Data = None) -> None:
    """Test a trained run's weights again on its test set."""
    from ranvier.train import evaluate as evaluation
    from ranvier.train.folder import Folder

    folder = Folder.open(run)
    plan, _, known = _read_config(folder)
    splits, net = _prepare(plan, data or known)
    folder.read_weights(net)
    answers = evaluation.evaluate(plan, net, splits.test)
    for layer, rates in answers.rates.items():
        out.print(f"{layer}: {rates.mean():.3f} spikes per step, {len(rates):,} neurons", style="dim")
    out.print(f"test accuracy [bold]{answers.accuracy:.2%}[/] ({answers.correct} of {len(answers.labels)})")


def explain(recipe: RecipeName, settings: Settings = None, data: Data = None) -> None:
    """Tell, layer by layer, which backend would run a recipe's net here, and why."""
    from torch import Generator

    from ranvier.nn.verbs import explain as explain_net

    plan = _recipe(recipe, _pairs(settings))
    splits, net = _prepare(plan, data)
    explained = explain_net(net, plan.encode(splits.train.x[: plan.batch], Generator().manual_seed(0)))
    out.print(str(explained), markup=False)


def recipes(recipe: MaybeRecipe = None) -> None:
    """List the recipes, or all fields of one: what --set can change."""
    from ranvier.recipes import RECIPES, named, settings

    table = Table(box=None, pad_edge=False, show_header=False)
    if recipe is None:
        for name, kind in RECIPES.items():
            table.add_row(f"[bold]{name}[/]", (kind.__doc__ or "").split("\n")[0])
    else:
        for name, value in settings(named(RECIPES, recipe)).items():
            table.add_row(name, f"[cyan]{value}[/]")
    out.print(table)


def doctor(
    target: Annotated[str, typer.Argument(metavar="RUN|RECIPE", help="A trained run's folder, or a recipe to try.")],
    settings: Settings = None,
    data: Data = None,
) -> None:
    """Look for dead and saturated layers, vanishing gradients and drifting rates; tell what to do, and the energy.

    A recipe is looked at with the weights it starts from, a run with those it ended with.
    """
    from torch import Generator

    from ranvier.doctor import diagnose
    from ranvier.train.energy import energy
    from ranvier.train.folder import Folder

    folder = Folder.open(target) if Path(target).is_dir() else None
    plan, _, known = _read_config(folder) if folder else (_recipe(target, _pairs(settings)), {}, None)
    splits, net = _prepare(plan, data or known)
    if folder:
        folder.read_weights(net)
    if not any(weight.requires_grad for weight in net.parameters()):
        raise ValueError(f"doctor looks at gradients, and {plan.name} learns without them; its report tells what fires")
    net.train(folder is None)  # fresh weights are normalised by the batch, as their training would begin
    split = splits.validation
    x = plan.encode(split.x[: plan.batch], Generator().manual_seed(0))
    diagnosis = diagnose(net, x, split.labels[: plan.batch], plan.loss())
    out.print(str(diagnosis), markup=False, soft_wrap=True)
    out.print(f"\n{energy(net, x)}", markup=False, soft_wrap=True)


def convert(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="file.py:name or package.module:name of a torch model.")
    ],
    data: Annotated[str, typer.Option(metavar="SET", help="What it was trained on: digits, mnist, fashion-mnist.")],
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Its weights, as safetensors.")] = None,
    folder: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where the data set lies.")] = None,
    steps: Annotated[str, typer.Option(metavar="T,T,...", help="Where accuracy is told.")] = "8,16,32,64,128",
    samples: Annotated[int, typer.Option(help="Training samples to calibrate by.")] = 512,
    test: Annotated[int | None, typer.Option(help="Test samples to compare on; else all.")] = None,
    balance: Annotated[str, typer.Option(help="Threshold of a neuron: max or percentile of its ReLU.")] = "percentile",
    percentile: Annotated[float, typer.Option(help="Which percentile.")] = 99.9,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write weights and report there.")] = None,
) -> None:
    """Make a trained torch network a spiking one, and tell what that costs.

    Every ReLU becomes a neuron; accuracy is told against the number of steps, and the error of each layer.

    Example: ranvier convert net.py:build --weights net.safetensors --data digits --out converted
    """
    from ranvier.convert import command, report
    from ranvier.convert import convert as make_spiking
    from ranvier.data import load

    points, built = command.points(steps), command.find(model)
    splits = load(data, folder)
    shown, x, labels = splits.train.x[:samples], splits.test.x[:test], splits.test.labels[:test]
    command.check_fits(built, data, shown[:2])
    if weights is not None:
        command.read_weights(built, weights)
    spiking = make_spiking(built, shown, balance=balance, percentile=percentile)
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task(f"{len(x):,} pictures, {max(points)} steps", total=len(x))
        found = report(spiking, built, x, labels, points, seen=lambda count: bar.advance(task, count))
    typer.echo(str(found))
    if weights is None:
        typer.echo("no --weights were given: the model was converted as MODEL makes it")
    if out is not None:
        command.write(out, spiking, found)
        typer.echo(f"weights and report: {out}")


# A new command is a line here.
COMMANDS = {
    "train": train,
    "eval": evaluate,
    "convert": convert,
    "explain": explain,
    "doctor": doctor,
    "recipes": recipes,
}

app = typer.Typer(
    help="Ranvier: spiking neural networks on PyTorch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for name, command in COMMANDS.items():
    app.command(name)(command)


def main() -> None:
    """Run the command line. What a user can mend is told in a sentence; RANVIER_TRACE=1 shows where it happened."""
    try:
        app()
    except KeyboardInterrupt:
        err.print("stopped")
        sys.exit(130)
    except (ValueError, TypeError, FileNotFoundError, FileExistsError, ModuleNotFoundError) as error:
        if os.environ.get("RANVIER_TRACE"):
            raise
        err.print(f"[red]error:[/] {_escape(str(error))}", soft_wrap=True)
        sys.exit(2)


def _set_environment() -> None:
    """For the commands that compute. Torch may be loaded by now, and reads its environment once: then begin again."""
    missing = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(missing)
    if missing and "torch" in sys.modules and os.name == "posix":
        os.execv(sys.executable, sys.orig_argv)


def _train(plan: Recipe, net: Any, splits: Any, folder: Folder, **trainer: Any) -> None:
    from ranvier.report import write_report
    from ranvier.train.evaluate import evaluate, summary
    from ranvier.train.progress import OneBar

    out.print(f"[bold]{plan.name}[/]: {len(splits.train.labels):,} samples, {plan.epochs} epochs, into {folder.path}")
    try:
        rows = plan.fit(net, splits.train, splits.validation, folder, [OneBar(out)], **trainer)
        beside = plan.beside(splits, folder, [OneBar(out)], **trainer)
    except (KeyboardInterrupt, SystemExit) as stop:  # Lightning leaves by SystemExit when it is told to terminate
        err.print(f"stopped; go on with: ranvier train --resume {folder.path}")
        sys.exit(130 if isinstance(stop, KeyboardInterrupt) else 143)
    answers = evaluate(plan, net, splits.test)
    result = summary(plan, net, answers, rows) | ({"beside": beside} if beside else {})
    write_report(folder, plan, net, splits.test, answers, result, rows)
    folder.write_result(result)  # last: it says that the run is finished
    _last_lines(folder)


def _prepare(plan: Recipe, data: Path | None) -> tuple[Any, Any]:
    """The data set, and the net with the weights it starts from."""
    from ranvier.train.engine import new_net

    splits = plan.splits(data)
    return splits, new_net(plan, splits.train.x[:1])


def _last_lines(folder: Folder) -> None:
    result = folder.read_result()
    right = f"({result['correct']} of {result['samples']})"
    out.print(f"test accuracy [bold]{result['accuracy']:.2%}[/] {right}, trained in {result['training_seconds']:.1f} s")
    for what, share in result.get("beside", {}).items():
        out.print(f"beside it: {what} {share:.2%}", style="dim")
    out.print(f"report: {folder.report}", soft_wrap=True)


def _recipe(name: str | None, changes: dict[str, Any]) -> Recipe:
    from ranvier.recipes import RECIPES, named, override

    if name is None:
        raise ValueError(f"name a recipe to train ({', '.join(RECIPES)}), or a run to go on with: --resume RUN")
    return override(named(RECIPES, name), changes)


def _write_config(folder: Folder, plan: Recipe, trainer: dict[str, str], data: Path | None) -> None:
    from ranvier.recipes import to_config

    where = {"data_folder": str(data.resolve())} if data else {}
    folder.write_config({**to_config(plan), "trainer": trainer} | where)


def _read_config(folder: Folder) -> tuple[Recipe, dict[str, str], Path | None]:
    """The recipe of a run, how Lightning was told to run it, and where its data set lies if that was said."""
    from ranvier.recipes import RECIPES, from_config

    config = folder.read_config()
    trainer, where = config.pop("trainer", {}), config.pop("data_folder", None)
    try:
        return from_config(RECIPES, config), trainer, Path(where) if where else None
    except ValueError as error:
        raise ValueError(f"{folder.config}: {error}") from None


def _pairs(settings: list[str] | None) -> dict[str, str]:
    pairs = [item.partition("=") for item in settings or []]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise ValueError(f"--set takes NAME=VALUE, as --set net.hidden=256, got {name + equals + value!r}")
    return {name: value for name, _, value in pairs}


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)

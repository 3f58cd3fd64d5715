"""The `ranvier` command: each of its subcommands is a typed function, listed in COMMANDS."""

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

# Torch reads these variables only when it is loaded. Huge pages halve the cost of new memory. With "passive", waiting
# OpenMP threads sleep instead of spinning: equally fast on a quiet machine, and much faster where others compute, too.
ENVIRONMENT = {"THP_MEM_ALLOC_ENABLE": "1", "OMP_WAIT_POLICY": "passive"}

console, err = Console(highlight=False), Console(stderr=True, highlight=False)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name; `ranvier recipes` lists them.")]
MaybeRecipe = Annotated[str | None, typer.Argument(metavar="RECIPE", help="Its name; `ranvier recipes` lists them.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any field of the recipe.")]
OwnData = Annotated[
    str | None, typer.Option(metavar="FOLDER|FILE.py:NAME", help="Folder of the data set, or splits of your own.")
]
Data = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder of the data set, if it is read from files.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]


def train(
    recipe: MaybeRecipe = None,
    epochs: Annotated[int | None, typer.Option(help="Passes through the training data.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples per update and process.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same weights.")] = None,
    gradient: Annotated[
        str | None, typer.Option(help="How gradients are computed, if the recipe offers it: eprop, eventprop, ...")
    ] = None,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="Folder to create; default runs/RECIPE.")] = None,
    data: OwnData = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Continue a run; --epochs lengthens it.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: the best available.")] = None,
    devices: Annotated[int | None, typer.Option(help="Number of accelerators per machine.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Number of machines.")] = None,
    strategy: Annotated[str | None, typer.Option(help="ddp or fsdp, if there are several devices.")] = None,
    precision: Annotated[str | None, typer.Option(help="bf16-mixed, ... as in Lightning; default 32-true.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches per update.")] = None,
    clip: Annotated[float | None, typer.Option(help="Clip gradients to this norm.")] = None,
    compile_: Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")] = False,
    tbptt: Annotated[int | None, typer.Option(metavar="K", help="Gradients flow back through K steps only.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read a Dataset.")] = None,
    keep: Annotated[int | None, typer.Option(metavar="N", help="Also save a checkpoint every N updates.")] = None,
    logger: Annotated[str | None, typer.Option(help="Also log to tensorboard, csv or wandb.")] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Write profile.txt: the time of each operation.")] = False,
) -> None:
    """Train a network, test it, and write a report.

    RECIPE is the name of a recipe, or file.py:Class for your own (`ranvier init` writes one to start from). The run's
    folder contains config.toml, weights.safetensors, metrics.csv, result.json and report.html. If a run was stopped,
    ranvier train --resume RUN continues it from its checkpoint; the result is the same as without the stop.

    Examples: ranvier train digits, or ranvier train mine.py:Recipe --data mine.py:splits --epochs 5 --out runs/mine
    """
    from ranvier.train.running import go_on, run

    _set_environment()
    shortcuts = {
        "epochs": epochs, "lr": lr, "batch": batch, "seed": seed, "gradient": gradient, "accelerator": accelerator,
        "devices": devices, "nodes": nodes, "strategy": strategy, "precision": precision, "accumulate": accumulate,
        "clip": clip, "compile": compile_ or None, "tbptt": tbptt, "workers": workers, "keep": keep, "logger": logger,
        "profile": profile or None,
    }  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in shortcuts.items() if value is not None}
    if resume is None:
        result = run(_recipe(recipe, _pairs(settings)), out, data=data, console=console, **changes)
    elif recipe or out or settings or set(changes) - {"epochs"}:
        raise ValueError("--resume continues a run with its own settings; leave out RECIPE, --out and all settings")
    else:
        result = go_on(resume, data=Path(data) if data else None, console=console, **changes)
    for line in result.lines():
        console.print(line, soft_wrap=True, style="dim" if line.startswith("beside") else "")


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the recipe; the file is NAME.py.")],
) -> None:
    """Write a recipe to start from: a commented file with a network, its data and its settings, ready to train."""
    from ranvier.recipes.start import write_start

    path, kind = write_start(name)
    console.print(f"{path}: look into it, then: ranvier train {path}:{kind}", soft_wrap=True)


def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|NAME|FILE.nir", help="The folder of a run, a trained network, a NIR graph.")
    ],
    data: Annotated[
        str | None, typer.Option(metavar="FOLDER|SET", help="Folder of the data set; for a NIR graph, a set or recipe.")
    ] = None,
    settings: Settings = None,
) -> None:
    """Test a trained run on its test set again, or a trained network that comes with Ranvier (digits, ...), or a NIR
    graph on a data set that is encoded as in a recipe.

    Example: ranvier eval net.nir --data digits --set steps=16
    """
    from ranvier.recipes import Recipe, override
    from ranvier.train import evaluate as evaluation

    if run.suffix == ".nir":
        from ranvier.convert.nir import from_nir, load
        from ranvier.recipes import RECIPES
        from ranvier.train.running import three

        if data is None:
            raise ValueError(f"{run} is a NIR graph: name the data set to test it on, such as --data digits")
        plan = RECIPES[data]() if data in RECIPES else Recipe(data=data)
        plan = override(plan, _pairs(settings))
        splits, net = three(plan.splits()), from_nir(load(run))
    elif settings:
        raise ValueError("--set is for a NIR graph; a run is tested with the settings of its training")
    else:
        plan, splits, net = _trained(run, data)
    answers = evaluation.evaluate(plan, net, splits[2])
    for layer, rates in answers.rates.items():
        console.print(f"{layer}: {rates.mean():.3f} spikes per step, {len(rates):,} neurons", style="dim")
    if answers.judged:
        console.print(f"test accuracy [bold]{answers.accuracy:.2%}[/] ({answers.correct} of {answers.samples})")
    else:
        console.print(f"test loss [bold]{answers.loss:.4g}[/] over {answers.samples} samples")


def show(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN ...", help="Folders of two or more runs.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write the comparison, with curves.")] = None,
) -> None:
    """Compare runs: their results, and the settings in which they differ."""
    from ranvier.beside import beside
    from ranvier.train.folder import write

    found = beside(runs)
    table = Table("", *found.names, box=None, pad_edge=False)
    for row in found.rows:
        table.add_row(*row)
    console.print(table)
    if out is not None:
        write(out, found.page())
        console.print(f"page: {out}", soft_wrap=True)


def sweep(
    recipe: RecipeName,
    ranges: Annotated[
        list[str], typer.Argument(metavar="NAME=RANGE ...", help="low..high, low..high:log, or a,b,c of any field.")
    ],
    trials: Annotated[int, typer.Option(help="Number of runs, including those that are stopped early.")] = 20,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="To create; default runs/sweep-RECIPE.")] = None,
    data: OwnData = None,
    seed: Annotated[int, typer.Option(help="The same seed tries the same settings.")] = 0,
) -> None:
    """Search for the best settings of a recipe with many short runs; bad runs are stopped early.

    The settings are judged on the validation set. A sweep that is started again with the same --out continues.

    Example: ranvier sweep digits lr=1e-3..1e-2:log net.hidden=64,128 --trials 20 --set epochs=5
    """
    from ranvier.recipes import RECIPES, named, override
    from ranvier.sweep import sweep as search
    from ranvier.train.folder import Folder

    sought = _pairs(ranges)
    folder = out or Folder.free(Path("runs") / f"sweep-{override(named(RECIPES, recipe), {}).name}")
    fixed: dict[str, Any] = {**_pairs(settings)}
    told: dict[str, Any] = {"console": Console(quiet=True), "say": lambda said: console.print(said, soft_wrap=True)}
    found = search(recipe, sought, folder, trials=trials, seed=seed, data=data, **told, **fixed)
    best = " ".join(f"--set {name}={value}" for name, value in found.best.items())
    console.print(f"best {found.aim.replace('_', ' ')} [bold]{found.value:.4g}[/] by {best}", soft_wrap=True)
    console.print(f"page: {found.page}", soft_wrap=True)


def explain(recipe: RecipeName, settings: Settings = None, data: Data = None) -> None:
    """Report, layer by layer, which backend would run a recipe's network on this machine, and why."""
    from ranvier.nn.verbs import explain as explain_net
    from ranvier.train.running import prepare, shown

    plan = _recipe(recipe, _pairs(settings))
    splits, net = prepare(plan, data)
    explained = explain_net(net, shown(plan, splits[0])[0])
    console.print(str(explained), markup=False)


def recipes(recipe: MaybeRecipe = None) -> None:
    """List the recipes, or all fields of one recipe, which can be changed by --set."""
    from ranvier.recipes import RECIPES, named, settings

    table = Table(box=None, pad_edge=False, show_header=False)
    if recipe is None:
        for name, kind in RECIPES.items():
            table.add_row(f"[bold]{name}[/]", (kind.__doc__ or "").split("\n")[0])
    else:
        for name, value in settings(named(RECIPES, recipe)).items():
            table.add_row(name, f"[cyan]{value}[/]")
    console.print(table)


def doctor(
    target: Annotated[str, typer.Argument(metavar="RUN|RECIPE", help="A trained run's folder, or a recipe to try.")],
    settings: Settings = None,
    data: Data = None,
    chip: Annotated[str | None, typer.Option("--target", metavar="NAME", help="Print what exceeds this chip.")] = None,
) -> None:
    """Look for dead and saturated layers, vanishing gradients and drifting rates; print advice and an energy estimate.

    A recipe is examined with its initial weights, a run or a trained network that comes with Ranvier with its final
    weights. With --target (microcontroller, loihi2, xylo, speck, spinnaker2) the command prints instead which limits of
    that chip the network exceeds.
    """
    from ranvier import models
    from ranvier.doctor import diagnose
    from ranvier.recipes import RECIPES
    from ranvier.train.energy import energy
    from ranvier.train.folder import Folder
    from ranvier.train.running import prepare, read_config, shown

    where = Path(target) if target in RECIPES else models.folder(target)
    folder = Folder.open(where) if where.is_dir() else None
    plan, _, known = read_config(folder) if folder else (_recipe(target, _pairs(settings)), None, None)
    splits, net = prepare(plan, data or known)
    if folder:
        folder.read_weights(net)
    if chip is not None:
        from ranvier.export import TARGETS, check

        misfits = check(net, shown(plan, splits[1])[0], chip)
        typer.echo("\n".join(map(str, misfits)) or f"the network is within all limits of {chip}")
        typer.echo(f"limits: {TARGETS[chip].source}")
        return
    if not any(weight.requires_grad for weight in net.parameters()):
        raise ValueError(
            f"doctor examines gradients, but {plan.name} learns without them; its report shows which neurons spike"
        )
    net.train(folder is None)  # initial weights are examined with batch statistics, as at the start of training
    x, labels, *lengths = shown(plan, splits[1])
    loss = plan.loss()
    diagnosis = diagnose(net, x, labels, lambda traces, right: loss(traces, right, *lengths), *lengths)
    cost = energy(net, x, *lengths)
    if not folder:
        console.print(f"{target} with its initial weights", style="dim", markup=False)
    console.print(str(diagnosis), markup=False, soft_wrap=True)
    console.print(f"\n{cost}", markup=False, soft_wrap=True)


def convert(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="file.py:name or package.module:name of a torch model.")
    ],
    data: Annotated[str, typer.Option(metavar="SET", help="Its data set: digits, mnist, fashion-mnist.")],
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Its weights, as safetensors.")] = None,
    folder: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder of the data set.")] = None,
    steps: Annotated[str, typer.Option(metavar="T,T,...", help="Report accuracy at these steps.")] = "8,16,32,64,128",
    samples: Annotated[int, typer.Option(help="Number of training samples used for calibration.")] = 512,
    test: Annotated[int | None, typer.Option(help="Number of test samples to compare on; default all.")] = None,
    balance: Annotated[str, typer.Option(help="Threshold of a neuron: max or percentile of its ReLU.")] = "percentile",
    percentile: Annotated[float, typer.Option(help="Which percentile.")] = 99.9,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write weights and report there.")] = None,
) -> None:
    """Convert a trained torch network to a spiking network, and report how much accuracy is lost.

    Every ReLU becomes a neuron. The report lists the accuracy after several numbers of steps, and the error per layer.

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
        typer.echo("without --weights: the model was converted with the weights that MODEL has when it is created")
    if out is not None:
        command.write(out, spiking, found)
        typer.echo(f"weights and report: {out}")


def export(
    run: Run,
    to: Annotated[str, typer.Option(metavar="nir|onnx|pt2|c", help="Kind of file.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write; default net.KIND.")] = None,
    bits: Annotated[int, typer.Option(help="C: bits per weight, 8, 4 or 2.")] = 8,
    step: Annotated[bool, typer.Option("--step", help="ONNX and pt2: export one step, with its state.")] = False,
    dt: Annotated[float, typer.Option(help="NIR: seconds per step.")] = 1e-4,
    approximate: Annotated[bool, typer.Option("--approximate", help="NIR: use the nearest node if none fits.")] = False,
    data: OwnData = None,
) -> None:
    """Export a trained run to a file for another platform, and compare the file with the network.

    For C, the fixed-point formats are chosen on training samples.

    Example: ranvier export runs/digits --to c --out digits.c
    """
    from ranvier.export import command
    from ranvier.train.running import shown

    plan, splits, net = _trained(run, data)
    x, *_ = shown(plan, splits[0])
    path, said = command.write(net, x, to, out, command.Options(bits, step, dt, approximate))
    typer.echo(said)
    typer.echo(f"written: {path}")


# To add a command, add a line here.
COMMANDS = {
    "train": train,
    "init": init,
    "show": show,
    "sweep": sweep,
    "eval": evaluate,
    "convert": convert,
    "export": export,
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
    """Run the command line. An error that a user can correct is printed as one sentence. With the environment variable
    RANVIER_TRACE=1 it is printed as a traceback.
    """
    try:
        sys.exit(app(prog_name="ranvier", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        sys.exit(130)
    except (typer.TyperException, ValueError, TypeError, OSError, ModuleNotFoundError, ArithmeticError) as error:
        if os.environ.get("RANVIER_TRACE"):
            raise
        if told := " ".join(_sentence(error).split()):  # typer has printed the help already if there is nothing to tell
            err.print(f"[red]error:[/] {_escape(told)}", soft_wrap=True)
        sys.exit(1 if isinstance(error, ArithmeticError) else 2)  # 1: the run failed, 2: the command was wrong


WANTED = {"int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number"}


def _sentence(error: Exception) -> str:
    """Return the message of an error. For a mistake in the command line, it also names the help of the command."""
    if not isinstance(error, typer.TyperException) or not (told := error.format_message().rstrip(".")):
        return "" if isinstance(error, typer.TyperException) else str(error)
    values: Any = getattr(error.__cause__, "errors", None)  # errors of pydantic, for a value of the wrong type
    option: Any = getattr(error, "param", None)
    if values and option:
        value = values()[0]
        told = f"{option.opts[0]} wants {WANTED.get(value['type'], value['msg'])}, got {value['input']!r}"
    told = told[0].lower() + told[1:].replace(". Did you", "; did you")
    where: Any = getattr(error, "ctx", None)
    return told if told.endswith("?") or not where else f"{told}; see `{where.command_path} --help`"


def _set_environment() -> None:
    """Set the variables of ENVIRONMENT, for commands that compute. If torch is loaded already, restart the process:
    torch reads them only while it is loaded.
    """
    missing = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(missing)
    if missing and "torch" in sys.modules and os.name == "posix":
        os.execv(sys.executable, sys.orig_argv)


def _trained(run: Path, data: str | None) -> tuple[Recipe, Any, Any]:
    """Return a run's recipe, the parts of its data set, and its trained network."""
    from ranvier.models import folder as place
    from ranvier.models import names
    from ranvier.train.folder import Folder
    from ranvier.train.running import prepare, read_config

    if not place(run).exists():
        raise FileNotFoundError(f"there is no run {run}, and no such trained network: there are {', '.join(names())}")
    if data and ":" not in data and not Path(data).is_dir():
        raise FileNotFoundError(f"--data takes the folder of the data set, and {data} is no folder")
    folder = Folder.open(place(run))
    plan, _, known = read_config(folder)
    splits, net = prepare(plan, Path(data) if data else known)
    folder.read_weights(net)
    return plan, splits, net


def _recipe(name: str | None, changes: dict[str, Any]) -> Recipe:
    from ranvier.recipes import RECIPES, named, override

    if name is None:
        raise ValueError(f"name a recipe to train ({', '.join(RECIPES)}), or continue a run: --resume RUN")
    return override(named(RECIPES, name), changes)


def _pairs(settings: list[str] | None) -> dict[str, str]:
    pairs = [item.partition("=") for item in settings or []]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise ValueError(f"--set takes NAME=VALUE, such as --set net.hidden=256, got {name + equals + value!r}")
    return {name: value for name, _, value in pairs}


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)

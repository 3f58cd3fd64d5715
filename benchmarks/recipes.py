"""Recipes end to end: seconds of an epoch by `fit`, with data, encoding, validation and checkpoint; one thread.

python benchmarks/recipes.py NAME [SRC ...] plays one recipe by this tree and by the `src` folders of other checkouts in
turns, because the machine has slow moments; a turn is one epoch.
"""

import json
import os
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__)
RECIPES = ("digits", "yinyang", "fashion-mnist")
PICTURES = 1280  # of Fashion-MNIST's 60,000; of Yin-Yang's 5,000 points


def child(name: str) -> None:
    """Train for an epoch at every line of input, always from the start; the first compiles or loads the kernels."""
    import torch

    from ranvier.data import Split
    from ranvier.recipes import RECIPES
    from ranvier.train.engine import fit, new_net
    from ranvier.train.folder import Folder

    torch.set_num_threads(1)
    plan = RECIPES[name](epochs=1)
    splits = plan.splits(None)
    train = Split(splits.train.x[:PICTURES], splits.train.labels[:PICTURES])
    held = Split(splits.validation.x[:200], splits.validation.labels[:200])

    def epoch() -> None:
        with TemporaryDirectory() as folder:
            net = new_net(plan, train.x[:1])
            (row,) = fit(plan, net, train, held, Folder.create(Path(folder) / "run"), accelerator="cpu")
        print("@" + json.dumps({"seconds": row["seconds"], "loss": row["train_loss"]}), flush=True)

    epoch()
    for _ in sys.stdin:
        epoch()
    os._exit(0)


def main(quick: bool = False, names: tuple[str, ...] = RECIPES, sources: tuple[str, ...] = (), rounds: int = 9) -> None:
    from turns import Child

    print("| recipe | src | epoch s | loss |\n|---|---|---|---|")
    for name in names:
        command, children = [sys.executable, str(HERE), "--child", name], []
        for source in (str(HERE.parents[1] / "src"), *sources):
            children.append(Child(source, command, {**os.environ, "PYTHONPATH": source}))
        first = [one.hear() for one in children]
        if sources:
            input("ready; Enter begins the turns\n")
        for _ in range(1 if quick else rounds):
            for one in children:
                one.play()
        for one, begun in zip(children, first, strict=True):
            one.end()
            seconds = statistics.median(turn["seconds"] for turn in one.turns)
            print(f"| {name} | {one.name} | {seconds:.2f} | {begun['loss']:.4f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(sys.argv[2])
    else:
        main(names=(sys.argv[1],), sources=tuple(sys.argv[2:]))

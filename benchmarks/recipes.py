"""Recipes end to end: seconds of an epoch by `fit`, data, encoding, validation and checkpoint included; one thread.

To compare with another commit, run this file with PYTHONPATH set to the `src` of a checkout of it.
"""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

EPOCHS = {"digits": 4, "yinyang": 4, "fashion-mnist": 3}
PICTURES = 3200  # of Fashion-MNIST's 60,000


def main(quick: bool = False) -> None:
    """The first epoch compiles or loads the kernels; the others are the figure."""
    from ranvier.data import Split
    from ranvier.recipes import RECIPES
    from ranvier.train.engine import fit, new_net
    from ranvier.train.folder import Folder

    torch.set_num_threads(1)
    print("| recipe | samples | first epoch s | later epochs s | loss after the last |\n|---|---|---|---|---|")
    for name, epochs in EPOCHS.items():
        if name not in RECIPES:  # an older commit
            continue
        plan = RECIPES[name](epochs=2 if quick else epochs)
        splits = plan.splits(None)
        train = Split(splits.train.x[:PICTURES], splits.train.labels[:PICTURES])
        held = Split(splits.validation.x[:200], splits.validation.labels[:200])
        net = new_net(plan, train.x[:1])
        with TemporaryDirectory() as folder:
            rows = fit(plan, net, train, held, Folder.create(Path(folder) / "run"), accelerator="cpu")
        first, *later = (b - a for a, b in pairwise([0.0, *(row["seconds"] for row in rows)]))
        shown = ", ".join(f"{seconds:.2f}" for seconds in later)
        print(f"| {name} | {len(train.labels)} | {first:.2f} | {shown} | {rows[-1]['train_loss']:.4f} |", flush=True)


if __name__ == "__main__":
    main()

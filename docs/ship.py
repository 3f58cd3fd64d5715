"""Copies a finished run into the package, as a trained network with a model card: `ranvier.models.load(NAME)`.

python docs/ship.py NAME FOLDER [COMMIT]    NAME: a row of docs/results.py; FOLDER: a run of it; COMMIT: that of the run
"""

import inspect
import shutil
import sys
from pathlib import Path

from results import ENTRIES, cost, versions

MOST = 1 << 20  # bytes of weights: larger ones do not belong into a package

CARD = """# {name}: {what}

A spiking network of Ranvier, already trained: `ranvier.models.load("{name}")`. `ranvier eval {name}` tests it again.

* *Test accuracy* of these weights: {accuracy:.2f} % ({correct:,} of {samples:,}). The page of
  results (docs/results.md) has other runs and published figures.
* *Trained by*: `{command} --seed {seed}` ({versions}).
* *Input*: {input}, encoded as below; *output*: {output}, the traces of the readout{after}.
* *Size*: {parameters:,} parameters, {bytes:,} bytes. *Activity*: {spikes:,} spikes of the hidden layers per sample.
* *Limits*: it knows this data set only, with this encoding; nobody has tested it on anything else.
* *Licence*: that of Ranvier for the weights; the data have licences of their own.

```python
import torch, ranvier

net, plan = ranvier.models.load("{name}"), ranvier.models.recipe("{name}")
test = plan.splits()[2]  # scaled as described below; other data must be scaled in the same way
x = plan.encode(test.x[:100], torch.Generator())
answers = net(x).nan_to_num().sum(0).argmax(-1)  # the class with the largest sum over time
```

The data set is `{data}`: {told}

```
{layers}
```
"""


def ship(name: str, folder: Path, now: str) -> Path:
    """Copy settings, weights and results of a run, and write its card; return the new folder."""
    import torch

    from ranvier.data import SETS
    from ranvier.models import HERE
    from ranvier.recipes import to_config
    from ranvier.train.folder import Folder
    from ranvier.train.running import prepare, read_config, shown

    entry, run, place = ENTRIES[name], Folder.open(folder), HERE / name
    plan, _, known = read_config(run)
    if others := entry.others(plan):
        raise ValueError(f"{folder} is no run of the row {name}: it has another {', '.join(sorted(others))}")
    splits, net = prepare(plan, known)
    run.read_weights(net)
    size = run.weights.stat().st_size
    if size > MOST:
        raise ValueError(f"the weights of {folder} have {size:,} bytes; at most {MOST:,} can be shipped")
    x, *_ = shown(plan, splits[2])
    with torch.no_grad():
        y = net.eval()(x)
    found, command = run.read_result(), f"ranvier train {entry.command}"
    over = f"{entry.over}={getattr(plan, entry.over)}" if entry.over else ""
    command += f" --set {over}" if over else ""
    card = CARD.format(
        name=name, what=f"{entry.what.partition(':')[0]} ({over})" if over else entry.what,
        accuracy=100 * found["accuracy"], correct=found["correct"], samples=found["samples"],
        command=command, seed=plan.seed, versions=now,
        input=_size(x), output=_size(y), after=", NaN after the end of each recording" if y.isnan().any() else "",
        parameters=found["parameters"], bytes=size, spikes=cost(folder)["spikes"], layers=net,
        data=plan.data, told=inspect.getdoc(SETS[plan.data]).partition("\n>>>")[0].strip(),
    )  # fmt: skip
    place.mkdir(parents=True, exist_ok=True)
    Folder(place).write_config(to_config(plan))  # without the folder of the data and settings of the trainer
    for file in (run.weights, run.result):
        shutil.copy(file, place)
    (place / "README.md").write_text(card)
    return place


def _size(x: object) -> str:
    """Write the shape of a sequence, with B for the batch; timed spikes are a pair of tensors."""
    if isinstance(x, tuple):
        return f"{_size(x[0])} twice, as the spikes of each step and their times in it"
    steps, _, *rest = x.shape  # type: ignore[attr-defined]
    return f"`[{', '.join(map(str, (steps, 'B', *rest)))}]`"


if __name__ == "__main__":
    name, folder, *commit = sys.argv[1:]
    now = versions() if not commit else f"commit {commit[0]}, {versions().partition(', ')[2]}"
    print(ship(name, Path(folder), now))

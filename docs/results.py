"""Trains recipes with several seeds and writes what came out into docs/results.md.

python docs/results.py spoken-digits japanese-vowels     these lines again; the others stay as they are
python docs/results.py --seeds 3                         all of them

Each run is `ranvier train NAME --seed SEED`. Settings were chosen by validation parts; test parts are only read here.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE, FIGURES = (Path(__file__).with_name(f"results.{kind}") for kind in ("md", "json"))
# Recipe: (what it is, the best published figure that we know of and its source)
ENTRIES = {
    "spoken-digits": ("Free Spoken Digits, 13 cepstral coefficients", "-"),
    "japanese-vowels": ("Japanese Vowels, the published split", "94.1 % (Kudo et al. 1999, not spiking)"),
    "smartwatch": (
        "Smartwatch exercises, people nobody has trained on",
        "87.3 to 88.9 % (Burns et al. 2018, not spiking, people split otherwise)",
    ),
    "digits": ("UCI digits, 8 x 8 pixels", "-"),
    "yinyang": ("Yin-Yang, exact gradients of spike times", "-"),
}


def run(name: str, seed: int, folder: Path) -> dict:
    """One training run by the command: its share of right answers, parameters and seconds."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "ranvier", "train", name, "--seed", str(seed), "--out", str(folder)]
    subprocess.run([*command, "--accelerator", "cpu"], check=True)
    result = json.loads((folder / "result.json").read_text())
    return {"accuracy": result["accuracy"], "correct": result["correct"], "samples": result["samples"],
            "parameters": parameters(folder), "seconds": round(time.perf_counter() - started, 1)}  # fmt: skip


def parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "weights.safetensors", "pt") as file:
        return sum(file.get_tensor(k).numel() for k in file.keys() if "running_" not in k and "num_batches" not in k)


def versions() -> str:
    import torch

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return f"commit {commit.stdout.strip()}, torch {torch.__version__}, Python {platform.python_version()}"


def line(name: str, runs: dict) -> str:
    shares = [100 * r["accuracy"] for r in runs["seeds"].values()]
    deviation = f" ± {statistics.stdev(shares):.2f}" if len(shares) > 1 else ""
    first = next(iter(runs["seeds"].values()))
    what, published = ENTRIES[name]
    mean = f"{statistics.mean(shares):.2f}{deviation} %"
    seeds, seconds = ", ".join(runs["seeds"]), statistics.mean(r["seconds"] for r in runs["seeds"].values())
    return (f"| {what} | {mean} | {seeds} | {first['samples']:,} | {first['parameters']:,} | {seconds:.0f} "
            f"| {published} | `ranvier train {name}` | {runs['versions']} |")  # fmt: skip


HEAD = """# Results

What `docs/results.py` has measured, and nothing else: accuracy on the test set, mean and deviation over the seeds
named. Settings were chosen by the validation parts. Seconds are those of a whole run on two shared cores.
[Where the recordings come from](../src/ranvier/data/signals.py): packages of PyPI, known by their hash; the error of a
missing set gives the command that fetches it.

| task | test accuracy | seeds | test samples | parameters | seconds | published | command | measured with |
|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", help=f"of {', '.join(ENTRIES)}")
    words.add_argument("--seeds", type=int, default=3)
    given = words.parse_args()
    if unknown := set(given.names) - set(ENTRIES):
        words.error(f"there is no entry {', '.join(sorted(unknown))}; there are {', '.join(ENTRIES)}")
    known = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
    for name in given.names or ENTRIES:
        with tempfile.TemporaryDirectory() as folder:
            seeds = {str(s): run(name, s, Path(folder) / str(s)) for s in range(given.seeds)}
        known[name] = {"versions": versions(), "seeds": seeds}
        FIGURES.write_text(json.dumps(known, indent=1) + "\n")
        PAGE.write_text(HEAD + "\n".join(line(n, known[n]) for n in ENTRIES if n in known) + "\n")


if __name__ == "__main__":
    main()

"""python benchmarks/run.py NAME [--quick]: run one benchmark; `all` runs each. See benchmarks/RESULTS.md."""

import argparse
import importlib
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch's idle threads must not take the core
sys.path.insert(0, str(Path(__file__).parent))

NOT_BENCHMARKS = {"run", "measure", "peers", "conv_nets", "stdp_peers"}


def main() -> None:
    names = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in NOT_BENCHMARKS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*names, "all"], help="what to measure")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats: a check that nothing collapsed")
    asked = parser.parse_args()
    from measure import header

    print(header())
    for name in names if asked.name == "all" else [asked.name]:
        print(f"\n## {name}")
        importlib.import_module(name).main(quick=asked.quick)


if __name__ == "__main__":
    main()

"""python benchmarks/run.py NAME [--quick]: run one benchmark; `all` runs each. See benchmarks/RESULTS.md.

Families of cases.py (neuron, recurrent, net, conv, latency, long, wide, residual, vgg-dvs, framework) are measured
beside other libraries: --case, --threads and --libraries measure a part of such a family, --isa avx2 the same as if the
processor were an older one.
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

MODULES = ("adex", "fit", "gpu", "neuron", "parallel", "rate", "recipes", "sparse", "stdp", "chart")


def main() -> None:
    import turns
    from cases import CASES, FAMILIES
    from measure import ISAS, header

    names = [*FAMILIES, *(name for name in MODULES if name not in FAMILIES)]  # chart draws what has been measured
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*names, "all"], help="what to measure")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats: a check that nothing collapsed")
    parser.add_argument("--case", choices=CASES, help="only this case of the family")
    parser.add_argument("--threads", type=int, default=0, help="only with so many threads (else 1, then 2)")
    parser.add_argument("--seconds", type=float, default=60, help="of turns, per case and number of threads")
    parser.add_argument("--libraries", default="", help="only these, separated by commas")
    parser.add_argument("--isa", choices=ISAS, default="", help="the instruction set of an older processor, emulated")
    parser.add_argument("--hold", action="store_true", help="when all libraries are ready, wait for Enter")
    asked = parser.parse_args()
    part = {"case": asked.case, "threads": asked.threads, "libraries": asked.libraries, "isa": asked.isa}
    print(header())
    for name in names if asked.name == "all" else [asked.name]:
        print(f"\n## {name}")
        if name in MODULES and not any(part.values()):
            importlib.import_module(name).main(quick=asked.quick)
        if name in FAMILIES and not (asked.quick and name in MODULES):
            turns.main(name, asked.quick, seconds=asked.seconds, hold=asked.hold, **part)


if __name__ == "__main__":
    main()

"""The size of a core's own cache: kernels keep the states of as many neurons as fit in it."""

from functools import cache
from pathlib import Path

USUAL = 512 * 1024  # used where the system does not tell the size
_SYSTEM = Path("/sys/devices/system/cpu/cpu0/cache")


@cache
def core_cache() -> int:
    """Return the size in bytes of the second-level cache of a core, or its share of one that several cores have."""
    try:
        for folder in sorted(_SYSTEM.glob("index*")):
            if (folder / "level").read_text().strip() == "2":
                return _bytes((folder / "size").read_text()) // _count((folder / "shared_cpu_list").read_text())
    except (OSError, ValueError):
        pass
    return USUAL


def _bytes(text: str) -> int:
    """Return the number that a text like "512K" means."""
    return int(text.strip().removesuffix("K")) * 1024


def _count(text: str) -> int:
    """Return how many processors a text like "0-1,4" names."""
    ends = [part.split("-") for part in text.strip().split(",")]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)

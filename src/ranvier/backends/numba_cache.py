"""`kept`: `numba.njit` with a cache on disk that heals. A damaged file is written anew; if none can be written (a full
disk), the function is compiled in each process, and a warning says so.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, NullCache

log = logging.getLogger("ranvier")


class HealingCache(FunctionCache):
    """Numba's cache of a function, in which a file that cannot be read or written does not end the call."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # unpickling a damaged file can fail anywhere
            try:
                self.flush()  # the index: the file it names is written anew
            except OSError as problem:
                _uncached(str(problem))
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as problem:
            _uncached(str(problem))


def kept(**options: Any) -> Callable[..., Any]:
    """Return the decorator `numba.njit` with these options, for kernels: no Python objects, division as in C, and kept
    on disk.
    """
    compile_lazily = njit(nogil=True, error_model="numpy", **options)

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = compile_lazily(function)
        try:
            dispatcher._cache = HealingCache(function)
        except RuntimeError as problem:  # no folder can be written
            dispatcher._cache = NullCache()
            _uncached(str(problem))
        return dispatcher

    return decorate


@cache  # said once for each reason
def _uncached(problem: str) -> None:
    log.warning("ranvier: compiled kernels cannot be kept (%s); they are compiled again in each process", problem)

"""`kept` is `numba.njit` with a cache on disk that tolerates damaged files: such a file is written again. If no file
can be written (a full disk), the function is compiled in each process, and there is a warning.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, NullCache

log = logging.getLogger("ranvier")


class HealingCache(FunctionCache):
    """Numba's cache of a function, but the call continues if a file of the cache cannot be read or written."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # unpickling a damaged file can fail anywhere
            try:
                self.flush()  # delete the index, so that the file is written again
            except OSError as problem:
                _uncached(str(problem))
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as problem:
            _uncached(str(problem))


def kept(**options: Any) -> Callable[..., Any]:
    """Return the decorator `numba.njit` for kernels, with these options: no Python objects, division as in C, and a
    cache on disk.
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


@cache  # one warning for each reason
def _uncached(problem: str) -> None:
    log.warning("ranvier: compiled kernels cannot be kept (%s); they are compiled again in each process", problem)

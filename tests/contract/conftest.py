"""Promises of the library, and which of them are not kept yet."""

import gc
import sys
from fnmatch import fnmatchcase

import pytest
import torch
from catalogue import CASES, KINDS, STAGES
from judge import asked

from ranvier.spikes import row

# test: {reason: cases, and after a minus those it leaves out}. Each must fail: what is mended has to be struck out.
KNOWN: dict[str, dict[str, str]] = {}


def _is_known(which: str, cases: str) -> bool:
    words = cases.split() if "," not in cases else [cases]
    leaves_out = any(fnmatchcase(which, word[1:]) for word in words if word.startswith("-"))
    return not leaves_out and any(fnmatchcase(which, word) for word in words)


@pytest.fixture(autouse=True)
def _threads(request, monkeypatch):
    """Rows of linear layers share their samples among two threads. For the rest one is enough: these networks are so
    small that threads would only wait for each other.
    """
    threads, name = torch.get_num_threads(), request.node.name
    torch.set_num_threads(2 if "Linear+" in name or "events+" in name else 1)
    monkeypatch.setattr(row, "LEAST", 1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _no_error_lives_on():
    """pytest keeps the last error for a debugger. In torch 2.11 an error within a recomputation keeps its hooks in
    place for as long as it lives, and they would change what follows."""
    yield
    if getattr(sys, "last_value", None) is not None:
        sys.last_value = sys.last_exc = sys.last_traceback = None
        gc.collect()


def pytest_generate_tests(metafunc):
    """A test that takes `case` and `backend` is asked of every case on every backend; one that takes `kind`, of those
    cases that stand for the others; one that takes `stage`, of those that are rows of layers; one that takes `one`, of
    all cases on the backend that is chosen for tensors of the CPU."""
    rows = {name: case for name, case in KINDS.items() if case in STAGES}
    for name, some in {"case": CASES, "kind": KINDS, "stage": rows, "one": CASES}.items():
        if {name, "backend"} <= set(metafunc.fixturenames):
            pairs = [p for p in asked(some) if name != "one" or p[1] == "numba"]
            metafunc.parametrize((name, "backend"), [_asked(some, c, b) for c, b in pairs])


def _asked(cases, name, backend):
    """A case on a backend; those that others stand for are among the slow checks."""
    marks = () if name in KINDS else (pytest.mark.slow,)
    return pytest.param(cases[name], backend, id=f"{backend}-{name}", marks=marks)


# Checks that take minutes together, though each is short.
LONG_TOGETHER = {
    "test_random_rows_give_the_same_in_pieces", "test_random_rows_give_the_same_bits_by_every_verb",
    "test_few_spikes_differ_in_pieces", "test_storage_of_parameters_can_be_resized_after_use",
    "test_each_gradient_is_the_same_whatever_else_is_wanted", "test_two_processes_train_as_one",
    "test_the_layout_of_an_input_does_not_matter",
}  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before what is not asked for is left out
def pytest_collection_modifyitems(items):
    for item in items:
        name, _, which = item.name.partition("[")
        if name in LONG_TOGETHER:
            item.add_marker(pytest.mark.slow)
        for reason, cases in KNOWN.get(name, {}).items():
            if _is_known(which.removesuffix("]"), cases):
                item.add_marker(pytest.mark.xfail(strict=True, reason=reason))

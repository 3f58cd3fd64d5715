"""Work runs on torch's own threads where that is possible, and on a pool elsewhere; results and errors are the same."""

import os
import threading

import numpy as np
import pytest
import torch

from ranvier.backends import threads
from ranvier.backends.buffers import scratch


@pytest.fixture(params=["torch's threads", "a pool"], autouse=True)
def _ways(request, monkeypatch):
    if request.param == "a pool":
        monkeypatch.setattr(threads, "_forked", True)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_every_piece_runs_once():
    for total, tile in ((1, 1), (7, 3), (1000, 1), (1000, 7)):
        seen = np.zeros(total, int)

        def work(lo, hi, seen=seen):
            seen[lo:hi] += 1

        threads.spread(work, total, tile, True)
        assert (seen == 1).all()


def test_jobs_return_in_order_and_use_one_thread_each():
    def job(k):
        return k, threads.usable(), torch.is_grad_enabled(), threading.get_ident()

    found = threads.each([lambda k=k: job(k) for k in range(5)])
    assert [k for k, *_ in found] == list(range(5))
    assert {(usable, grad) for _, usable, grad, _ in found} == {(1, False)}
    assert threads.usable() == 3 and torch.is_grad_enabled()


def test_jobs_in_inference_mode():
    with torch.inference_mode():
        out = torch.zeros(2, 3)
        threads.each([lambda k=k: out[k].fill_(k + 1) for k in range(2)])
    assert out.tolist() == [[1.0] * 3, [2.0] * 3]


def test_an_error_reaches_the_caller_and_the_next_work_runs():
    def fails(lo, hi):
        raise ValueError(f"piece {lo}")

    with pytest.raises(ValueError, match="piece"):
        threads.spread(fails, 100, 1, True)
    assert threads.each([lambda: 1, lambda: 2]) == [1, 2] and threads.usable() == 3


def test_work_within_work_stays_on_its_thread():
    def outer():
        seen = []
        threads.spread(lambda lo, hi: seen.append(threading.get_ident()), 100, 1, True)
        return seen == [threading.get_ident()]

    assert threads.each([outer, outer, outer]) == [True] * 3


def test_helpers_keep_their_scratch_arrays():
    """Otherwise each call would allocate them anew."""
    seen = {}

    def work(lo, hi):
        place = scratch("of this test", (1000,), torch.float32).data_ptr()
        seen.setdefault(threading.get_ident(), set()).add(place)

    for _ in range(20):
        threads.spread(work, 1000, 1, True)
    assert all(len(places) == 1 for places in seen.values())


def test_another_thread_has_no_shares():
    found = []
    other = threading.Thread(target=lambda: found.append((threads.shares(10), threads.each([lambda: 1, lambda: 2]))))
    other.start()
    other.join()
    assert found == [([slice(0, 10)], [1, 2])]


def test_a_forked_process_works_and_torch_does_in_it():
    x = torch.rand(1_000_000)
    threads.spread(lambda lo, hi: None, 100, 1, True)
    if not (child := os.fork()):
        seen = np.zeros(100, int)
        threads.spread(lambda lo, hi: seen.__setitem__(slice(lo, hi), 1), 100, 1, True)
        os._exit(0 if seen.all() and x.exp().min() >= 1 else 1)
    assert os.waitpid(child, 0)[1] == 0

"""Events as steps: by time, by count, dense or sparse."""

import pickle

import numpy as np
import pytest
import torch

from ranvier import data
from ranvier.data import Events, ToFrames, frames, frames_by_count, sparse_frames


def drawn(many=200, width=7, seed=0):
    random = np.random.RandomState(seed)
    return random.rand(many) * 0.12, random.randint(0, width, many)


@pytest.mark.parametrize("count", [False, True])
def test_frames_by_time_agree_with_a_loop(count):
    times, places = drawn()
    wanted = np.zeros((10, 7))
    for t, p in zip(times, places, strict=True):
        if t < 0.1:
            wanted[int(t / 0.01), p] = wanted[int(t / 0.01), p] + 1 if count else 1
    assert np.array_equal(frames(times, places, 10, 7, 0.01, count), wanted)
    sparse = sparse_frames(times, places, 10, 7, 0.01, count)
    assert sparse.is_sparse and np.array_equal(sparse.to_dense().numpy(), wanted)


def test_frames_by_count_share_the_events_evenly():
    times, places = drawn(103)
    made = frames_by_count(times, places, 10, 7, count=True)
    assert made.sum(1).tolist() == [10, 10, 10, 11, 10, 10, 11, 10, 10, 11] and made.sum() == 103
    first = places[np.argsort(times)][:10]
    assert np.array_equal(made[0], np.bincount(first, minlength=7))
    assert frames_by_count(times[:2], places[:2], 4, 7).sum() == 2
    assert frames_by_count(times[:0], places[:0], 4, 7).sum() == 0


def test_places_and_times_that_are_none_are_refused():
    one = np.array([0.0])
    for make in (frames, sparse_frames):
        for places, said in (([-1], "-1 to -1"), ([7], "7 to 7"), ([0.5], "float64")):
            with pytest.raises(ValueError, match=f"0..6, got .*{said}" if "to" in said else said):
                make(one, np.array(places), 2, 7, 0.01)
        with pytest.raises(ValueError, match="event 1 has the time nan"):
            make(np.array([0.0, np.nan]), np.array([0, 1]), 2, 7, 0.01)
        with pytest.raises(ValueError, match="dt is the length"):
            make(one, np.array([0]), 2, 7, 0.0)
    with pytest.raises(ValueError, match="got 1 and 2"):
        frames(one, np.array([0, 1]), 2, 7, 0.01)
    with pytest.raises(ValueError, match="steps must be"):
        frames_by_count(one, np.array([0]), 0, 7)


def events(many=300):
    random = np.random.RandomState(1)
    times = 5_000 + np.sort(random.randint(0, 40_000, many))
    places = (random.randint(0, n, many) for n in (11, 9, 2))
    return Events(times, *places, (9, 11))


def test_to_frames():
    found = events()
    x = ToFrames(steps=4, dt=0.01, count=True)(found)
    assert x.shape == (4, 2, 9, 11) and x.dtype == torch.float32
    wanted = torch.zeros(4, 2, 9, 11)
    for t, column, row, polarity in zip(*found[:4], strict=True):
        step = (t - found.times[0]) // 10_000
        if step < 4:
            wanted[step, polarity, row, column] += 1
    assert torch.equal(x, wanted)
    assert torch.equal(ToFrames(4, 0.01, count=True, sparse=True)(found).to_dense(), wanted)
    assert torch.equal(ToFrames(4, 0.01)(found), (wanted > 0).float())
    assert ToFrames(dt=0.01)(found).shape[0] == 4 and ToFrames(dt=0.001)(found).shape[0] in (40, 39)
    small = ToFrames(4, 0.01, count=True, shrink=2)(found)
    assert small.shape == (4, 2, 5, 6) and small.sum() == wanted.sum()
    assert small[1, 1, 4, 5] == wanted[1, 1, 8:, 10:].sum()
    assert ToFrames(5, count=True)(found).sum((1, 2, 3)).tolist() == [60.0] * 5
    empty = Events(*(found[k][:0] for k in range(4)), (9, 11))
    assert ToFrames(3)(empty).sum() == 0 and ToFrames(3, 0.1, sparse=True)(empty).to_dense().shape == (3, 2, 9, 11)
    assert pickle.loads(pickle.dumps(ToFrames(4, 0.01))) == ToFrames(4, 0.01)
    for wrong in ({}, {"steps": 0}, {"dt": -1.0}, {"steps": 4, "sparse": True}, {"steps": 4, "shrink": 0}):
        with pytest.raises(ValueError):
            ToFrames(**wrong)
    assert data.frames is frames

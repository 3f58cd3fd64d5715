"""A hostile or broken file: one clear error, in bounded time and memory."""

import random
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.convert import nir as exchange

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")
resource = pytest.importorskip("resource")

ONE = np.ones(3, np.float32)


def lif(**changed):
    fields = dict(tau=2 * ONE, r=2 * ONE, v_leak=0 * ONE, v_threshold=ONE, v_reset=0 * ONE) | changed
    return nir.LIF(**fields)


def graph(nodes, edges):
    return nir.NIRGraph(nodes, edges, type_check=False)


def ends(**nodes):
    return {"input": nir.Input(np.array([3])), **nodes, "output": nir.Output(np.array([3]))}


LINEAR = nir.Linear(np.eye(3, dtype=np.float32))
BROKEN = {
    "missing edge": (lambda: graph(ends(a=lif(), b=lif()), [("input", "a"), ("b", "output")]), "no path leads"),
    "edge to nowhere": (lambda: graph(ends(a=lif()), [("input", "a"), ("a", "gone")]), "no nodes of it"),
    "edge twice": (lambda: graph(ends(a=lif()), [("input", "a"), ("a", "output"), ("a", "output")]), "an edge twice"),
    "cycle without delay": (
        lambda: graph(ends(a=LINEAR, b=LINEAR), [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]),
        "cycle of nodes without memory",
    ),
    "NaN": (lambda: graph(ends(a=lif(tau=np.nan * ONE)), [("input", "a"), ("a", "output")]), "not finite"),
    "tau below 0": (lambda: graph(ends(a=lif(tau=-ONE)), [("input", "a"), ("a", "output")]), "not above 0"),
    "wrong widths": (
        lambda: graph(ends(a=nir.Linear(np.ones((3, 4), np.float32))), [("input", "a"), ("a", "output")]),
        "do not fit",
    ),
    "wrong output": (
        lambda: graph(ends(a=nir.Linear(np.ones((4, 3), np.float32))), [("input", "a"), ("a", "output")]),
        r"has shape \(3,\), but its nodes return \(4,\)",
    ),
    "no output": (lambda: graph({"input": nir.Input(np.array([3])), "a": lif()}, [("input", "a")]), "0 Output nodes"),
    "absurd input": (
        lambda: graph(
            {"input": nir.Input(np.array([2**40])), "output": nir.Output(np.array([2**40]))}, [("input", "output")]
        ),
        "which no input can have",
    ),
    "unknown node": (lambda: graph(ends(a=object()), [("input", "a"), ("a", "output")]), "is a object; known are"),
    "vast padding": (
        lambda: graph(
            {
                "input": nir.Input(np.array([1, 4, 4])),
                "a": nir.Conv2d(None, np.ones((1, 1, 2, 2), np.float32), 1, 4000, 1, 1, np.ones(1, np.float32)),
                "output": nir.Output(np.array([1, 4, 4])),
            },
            [("input", "a"), ("a", "output")],
        ),
        "more than its kernel",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_graph_is_one_clear_error(name):
    build, message = BROKEN[name]
    with pytest.raises(ValueError, match=message):
        exchange.from_nir(build(), dt=1.0)


def test_a_deep_nest_and_a_long_chain_end():
    inner = graph(ends(a=lif()), [("input", "a"), ("a", "output")])
    for _ in range(20):
        inner = graph(ends(a=inner), [("input", "a"), ("a", "output")])
    with pytest.raises(ValueError, match="more than 16 deep"):
        exchange.from_nir(inner, dt=1.0)
    names = [f"n{k}" for k in range(3000)]
    chain = graph(ends(**{n: LINEAR for n in names}), [*zip(["input", *names], [*names, "output"], strict=True)])
    assert len(exchange.from_nir(chain, dt=1.0)) == 3000


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "x.nir"
    with pytest.raises(FileNotFoundError, match="no NIR file"):
        exchange.load(path)
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(ValueError, match="no NIR file: it is no HDF5 file"):
        exchange.load(path)
    with h5py.File(path, "w") as file:
        file["a"] = 1
    with pytest.raises(ValueError, match="no NIR file: KeyError"):
        exchange.load(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("node/weight", shape=(2**20, 2**20), dtype="f4", chunks=(1024, 1024), compression="gzip")
    with pytest.raises(ValueError, match="more than 1,073,741,824 bytes"):
        exchange.load(path)
    with h5py.File(path, "w") as file:
        file.create_group("node")
        file["node/again"] = file["node"]
    with pytest.raises(ValueError, match="contain each other"):
        exchange.load(path)
    with h5py.File(path, "w") as file:
        file["node"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(ValueError, match="link to elsewhere"):
        exchange.load(path)


def _example(path):
    torch.manual_seed(0)
    net = rv.Sequential(
        nn.Conv2d(1, 2, 3), rv.LIF(reset="zero"), rv.SumPool(2), nn.Flatten(), nn.Linear(8, 4),
        rv.Recurrent(rv.CubaLIF(reset="zero"), 4), nn.Linear(4, 3), rv.LI(),
    )  # fmt: skip
    exchange.save(path, exchange.to_nir(net, torch.zeros(1, 1, 1, 6, 6)))


def _mutate(content: bytes, r: random.Random) -> bytes:
    data = bytearray(content)
    way = r.randrange(4)
    if way == 0:
        del data[r.randrange(len(data)) :]
    elif way == 1:
        for _ in range(r.randint(1, 30)):
            data[r.randrange(len(data))] = r.randrange(256)
    elif way == 2:
        at, many = r.randrange(len(data)), r.randint(1, 200)
        data[at : at + many] = bytes(many)
    else:
        at, to = r.randrange(len(data)), r.randrange(len(data))
        data[at : at + 64] = data[to : to + 64]
    return bytes(data)


@pytest.mark.parametrize("count", [25, pytest.param(500, marks=pytest.mark.long)])
def test_mutated_files_give_one_error_or_a_network(count, tmp_path):
    """Bytes are changed at random, and the values that nir reads too; whatever comes of it, it ends, and says so."""
    path, hurt = tmp_path / "good.nir", tmp_path / "hurt.nir"
    _example(path)
    content, r, refused = path.read_bytes(), random.Random(count), 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in kilobytes on Linux
    for _ in range(count):
        hurt.write_bytes(_mutate(content, r))
        begun = time.perf_counter()
        try:
            exchange.from_nir(exchange.load(hurt, patience=10.0))
        except ValueError as error:
            assert len(str(error)) > 20
            refused += 1
        assert time.perf_counter() - begun < 60
    assert refused > count // 4
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4_000_000

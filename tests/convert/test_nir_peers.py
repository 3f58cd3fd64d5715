"""NIR files in both directions with the libraries themselves, each in its own environment below .peers/NAME.

Where numbers differ, the test shows whose difference it is: told what the other library leaves out of the file, ours
gives its spikes.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import ranvier as rv
from ranvier.convert import nir as exchange

nir = pytest.importorskip("nir")
ROOT = Path(__file__).parents[2]
LIBRARIES = ("snntorch", "norse", "spikingjelly", "sinabs", "spyx")
DT = {"norse": 1e-3, "sinabs": 1.0}  # what each takes a step for; the others 1e-4 s

pytestmark = pytest.mark.peer


def peer(library, verb, file, x):
    """What the library gives on x for the file that it read, or that it wrote."""
    given, found = file.with_suffix(".x.npy"), file.with_suffix(".y.npy")
    np.save(given, x.numpy())
    python = ROOT / ".peers" / library / "bin" / "python"
    script = [python, Path(__file__).with_name("nir_peer.py"), library, verb, file, given, found]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.from_numpy(np.load(found))


def drawn(neuron, scale=1.0):
    torch.manual_seed(0)
    net = rv.Sequential(rv.Linear(6, 8), neuron, rv.Linear(8, 3))
    net[0].weight.data.abs_().mul_(scale)
    return net, (torch.rand(50, 4, 6) < 0.5).float()


def fires(net, x):
    with torch.no_grad():
        assert bool((rv.record(net, x, "z")["1"] != 0).any())
        return net(x)


def same(y, wanted):
    """The last layer is linear, so that its numbers are equal where all spikes are."""
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-5)


HARD = {
    "LIF": lambda: rv.LIF(beta=0.9, reset="zero"),
    "IF": lambda: rv.IF(reset="zero"),
    "CubaLIF": lambda: rv.CubaLIF(reset="zero"),
}
EQUAL = [
    ("snntorch", "LIF"), ("snntorch", "CubaLIF"), ("norse", "IF"), ("norse", "CubaLIF"),
    *(("spikingjelly", name) for name in HARD),
]  # fmt: skip


@pytest.mark.parametrize("library, name", EQUAL)
def test_files_written_here_give_the_same_spikes_there(library, name, tmp_path):
    net, x = drawn(HARD[name](), 2.0)
    exchange.save(tmp_path / "net.nir", exchange.to_nir(net, x, DT.get(library, 1e-4)))
    same(peer(library, "read", tmp_path / "net.nir", x), fires(net, x))


def test_norse_reads_a_lif_without_its_resistance(tmp_path):
    """With the resistance in the weights before it, Norse gives our spikes."""
    net, x = drawn(HARD["LIF"](), 2.0)
    graph = exchange.to_nir(net, x, 1e-3)
    before, lif = graph.nodes["0"], graph.nodes["1"]
    before.weight, before.bias, lif.r = before.weight * lif.r[:, None], before.bias * lif.r, np.ones_like(lif.r)
    exchange.save(tmp_path / "net.nir", graph)
    same(peer("norse", "read", tmp_path / "net.nir", x), fires(net, x))


@pytest.mark.parametrize("neuron", [lambda: rv.LIF(beta=0.9), lambda: rv.IF()], ids=["LIF", "IF"])
def test_sinabs_resets_by_subtraction_and_reads_no_resistance(neuron, tmp_path):
    """A neuron that resets softly, written as the nearest of NIR: its input is a charge, a step is 1."""
    net, x = drawn(neuron(), 0.3)
    how = {"method": "impulse"} if isinstance(net[1], rv.LIF) else {}
    exchange.save(tmp_path / "net.nir", exchange.to_nir(net, x, 1.0, approximate=True, **how))
    same(peer("sinabs", "read", tmp_path / "net.nir", x), fires(net, x))


@pytest.mark.parametrize(
    "name, first",
    [("LIF", lambda: rv.FireFirstLIF(beta=0.9)), ("IF", rv.FireFirstIF), ("CubaLIF", rv.FireFirstCubaLIF)],
)
def test_spyx_spikes_before_its_input_and_resets_by_subtraction(name, first, tmp_path):
    """Spyx reads our file as neurons of its own kind, which are those of ours that fire first."""
    net, x = drawn(HARD[name](), 2.0)
    exchange.save(tmp_path / "net.nir", exchange.to_nir(net, x, 1e-4))
    theirs = drawn(first(), 2.0)[0]
    theirs[2].load_state_dict(net[2].state_dict())
    same(peer("spyx", "read", tmp_path / "net.nir", x), fires(theirs, x))


@pytest.mark.parametrize(
    "library, dt, method",
    [
        ("snntorch", 1e-4, "euler"),
        ("spikingjelly", 1e-4, "euler"),
        ("sinabs", 1.0, "exponential"),
        ("norse", 1e-6, "euler"),  # it writes dt / (1 / tau), which is dt tau: a thousandth of tau
    ],
)
def test_files_written_there_give_the_same_spikes_here(library, dt, method, tmp_path):
    x = drawn(rv.LIF())[1]
    wanted = peer(library, "write", tmp_path / "net.nir", x)
    same(fires(exchange.from_nir(tmp_path / "net.nir", dt, method=method), x), wanted)


def test_a_file_of_spyx_says_nothing_of_firing_first(tmp_path):
    """With weights and decay of its file, the neuron that fires first gives its spikes."""
    x = drawn(rv.LIF())[1]
    wanted = peer("spyx", "write", tmp_path / "net.nir", x)
    read = [m for m in exchange.from_nir(tmp_path / "net.nir", 1e-4).modules() if not list(m.children())]
    first, neuron, last = read
    net = rv.Sequential(first, rv.FireFirstLIF(beta=float(neuron.beta.flatten()[0])), last)
    with torch.no_grad():
        same(net(x), wanted)

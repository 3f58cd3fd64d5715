"""Checks of what other libraries do with our NIR files, and we with theirs.

Each library runs in an environment of its own below .peers/NAME. Where numbers differ, a check shows whose difference
it is: told what the other library leaves out of the file, ours gives its spikes.
"""

import subprocess
from pathlib import Path

import numpy as np
import torch
from torch import nn

import ranvier as rv
from ranvier.convert import nir as exchange

ROOT = Path(__file__).parents[2]
DT = {"norse": 1e-3, "sinabs": 1.0}  # what each takes a step for; the others 1e-4 s


def call(library, verb, file, x, *more):
    given, found = file.with_suffix(".x.npy"), file.with_suffix(".y.npy")
    np.save(given, x.numpy())
    python = ROOT / ".peers" / library / "bin" / "python"
    script = [python, Path(__file__).with_name("nir_peer.py"), library, verb, file, given, found, *more]
    return subprocess.run(script, capture_output=True, text=True), found


def peer(library, verb, file, x, *more):
    """What the library gives on x for the file that it read, or that it wrote."""
    done, found = call(library, verb, file, x, *more)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.from_numpy(np.load(found))


def same(y, wanted):
    """The last layer is linear, so that its numbers are equal where all spikes are."""
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-5)


def drawn(neuron, kind="dense", pool=None, scale=None):
    """A network of a kind around a layer of neurons, and its input."""
    torch.manual_seed(0)
    current = any(isinstance(m, rv.CubaLIF) for m in neuron.modules())
    scale = scale or (0.1 if current else 2.0)
    if kind == "convolutional":
        pool = nn.AvgPool2d(2) if pool is None else pool
        first, rest = rv.Conv2d(2, 3, 3, padding=1), [pool, nn.Flatten(), rv.Linear(12, 3)]
    else:
        first, rest = rv.Linear(6, 8), [rv.Linear(8, 3)]
    first.weight.data.abs_().mul_(scale)
    return rv.Sequential(first, neuron, *rest), (torch.rand(50, 4, *((2, 4, 4) if len(rest) > 1 else (6,))) < 0.5) * 1.0


def returning(neuron, low=-1.0, high=1.0, kind=rv.Recurrent):
    """Neurons with feedback; it has a bias, of 0, unless the neurons fire first."""
    torch.manual_seed(1)
    back = nn.Linear(8, 8, bias=kind is rv.Recurrent)
    nn.init.uniform_(back.weight, low, high)
    if back.bias is not None:
        nn.init.zeros_(back.bias)
    return kind(neuron, back)


def fires(net, x):
    with torch.no_grad():
        z = rv.record(net, x, "z")["1"]
        assert 0.05 < float((z != 0).float().mean()) < 0.99
        return net(x)


HARD = {
    "LIF": lambda: rv.LIF(beta=0.9, reset="zero"),
    "IF": lambda: rv.IF(reset="zero"),
    "CubaLIF": lambda: rv.CubaLIF(reset="zero"),
}
FIRST = {
    "LIF": lambda emit: rv.FireFirstLIF(beta=0.9, emit=emit),
    "IF": lambda emit: rv.FireFirstIF(emit=emit),
    "CubaLIF": lambda emit: rv.FireFirstCubaLIF(emit=emit),
}


def written(library, net, x, to, **how):
    graph = exchange.to_nir(net, x, DT.get(library, 1e-4), **how)
    exchange.save(to, graph)
    return graph


def layer(name, kind):
    return returning(HARD[name]()) if kind == "recurrent" else HARD[name]()


def reads(library, name, kind="dense", pool=None):
    """Our file gives our spikes there."""

    def check(to):
        net, x = drawn(layer(name, kind), kind, pool)
        written(library, net, x, to)
        same(peer(library, "read", to, x), fires(net, x))

    return check


def reads_not(library, net, message, **how):
    """The library refuses our file with this message."""

    def check(to):
        made, x = net()
        written(library, made, x, to, **how)
        done, _ = call(library, "read", to, x)
        assert done.returncode and message in done.stderr, done.stderr[-2000:]

    return check


def reads_without_resistance(kind):
    """With the resistance in the weights before it, Norse gives our spikes."""

    def check(to):
        net, x = drawn(layer("LIF", kind), kind)
        graph = exchange.to_nir(net, x, 1e-3)
        inner = graph.nodes["1"].nodes if kind == "recurrent" else {"lif": graph.nodes["1"]}
        lif = inner["lif"]
        for before in filter(None, (graph.nodes["0"], inner.get("w_rec"))):
            before.weight, before.bias = before.weight * lif.r[:, None], before.bias * lif.r
        lif.r = np.ones_like(lif.r)
        exchange.save(to, graph)
        same(peer("norse", "read", to, x), fires(net, x))

    return check


def lacks(library, kind):
    """The library has no layer for a node of our file: it stops with an error, or with what a layer before it gives."""

    def check(to):
        net, x = drawn(HARD["CubaLIF"](), kind)
        written(library, net, x, to)
        done, found = call(library, "read", to, x)
        assert done.returncode or np.load(found).shape != net(x).shape

    return check


def reads_softly(name, kind):
    """A neuron that resets softly, written as the nearest of NIR: its input is a charge, a step is 1."""

    def check(to):
        neuron = rv.LIF(beta=0.9) if name == "LIF" else rv.IF()
        neuron = returning(neuron, 0.0, 0.05) if kind == "recurrent" else neuron
        net, x = drawn(neuron, kind, rv.SumPool(2), scale=0.3)
        how = {"method": "impulse"} if name == "LIF" else {}
        written("sinabs", net, x, to, approximate=True, **how)
        same(peer("sinabs", "read", to, x), fires(net, x))

    return check


def reads_no_map_without_bias(to):
    """Feedback without a bias is a Linear node, which Sinabs passes over: it gives the spikes of no feedback."""
    net, x = drawn(returning(rv.IF(), 0.0, 0.05), scale=0.3)
    net[1].feedback.bias = None
    written("sinabs", net, x, to, approximate=True)
    alone = rv.Sequential(net[0], rv.IF(), net[2])
    assert not torch.allclose(fires(net, x), fires(alone, x))
    same(peer("sinabs", "read", to, x), fires(alone, x))


def last_channels_last(weight):
    """The weights of a layer behind Flatten, for numbers [H, W, C] instead of [C, H, W]."""
    return weight.reshape(3, 3, 2, 2).permute(0, 2, 3, 1).reshape(3, 12)


def reads_firing_first(name, kind):
    """Spyx reads our file as neurons of its own kind, which are those of ours that fire first."""

    def check(to):
        net, x = drawn(HARD[name](), kind, rv.SumPool(2))
        theirs = rv.Sequential(*net)
        theirs[1] = FIRST[name]("before")
        if kind == "recurrent":
            theirs[1] = returning(FIRST[name]("after"), kind=rv.FireFirstRecurrent)
            net[1] = rv.Recurrent(HARD[name](), theirs[1].feedback)
        wanted = fires(theirs, x)
        if kind == "convolutional":
            net[4].weight.data = last_channels_last(net[4].weight.data)
        written("spyx", net, x, to)
        same(peer("spyx", "read", to, x), wanted)

    return check


def writes(library, dt, method="euler", kind="dense"):
    """Its file gives its spikes here."""

    def check(to):
        x = drawn(rv.LIF(), kind)[1]
        wanted = peer(library, "write", to, x, kind)
        same(fires(exchange.from_nir(to, dt, method=method), x), wanted)

    return check


def writes_not(library, message, kind="recurrent"):
    def check(to):
        done, _ = call(library, "write", to, drawn(rv.LIF(), kind)[1], kind)
        assert done.returncode and message in done.stderr, done.stderr[-2000:]

    return check


def writes_nothing_of_firing_first(kind):
    """With weights and decay of a file of Spyx, the neurons that fire first give its spikes."""

    def check(to):
        x = drawn(rv.LIF(), kind)[1]
        wanted = peer("spyx", "write", to, x, kind)
        net = exchange.from_nir(to, 1e-4)
        parts = {type(m).__name__: m for m in net.modules()}
        decay = float(parts["GainLIF"].beta.flatten()[0])
        neuron = rv.FireFirstLIF(beta=decay, emit="after" if kind == "recurrent" else "before")
        if kind == "recurrent":  # in its file the input goes into the feedback
            looped = parts["Looped"]
            assert ("layer_1_input", "layer_1_w_rec") in looped.edges
            neuron = rv.FireFirstRecurrent(neuron, looped.layers["layer_1_w_rec"].module)
        first, *rest = net.children()
        if kind == "convolutional":
            rest[-1].weight.data = rest[-1].weight.data.reshape(3, 2, 2, 3).permute(0, 3, 1, 2).reshape(3, 12)
        theirs = rv.Sequential(first, neuron, *rest[1:])
        same(fires(theirs, x), wanted)

    return check

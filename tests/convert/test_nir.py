"""NIR there and back is the identity, and a graph means what its differential equations say."""

import numpy as np
import pytest
import torch
from random_nets import random_net
from torch import nn

import ranvier as rv
from ranvier.convert import nir as exchange

nir = pytest.importorskip("nir")


def there_and_back(net, x, path=None, **how):
    graph = exchange.to_nir(net, x, approximate=True, **how)
    if path is not None:
        exchange.save(path, graph)
        graph = path
    return exchange.from_nir(graph)


@pytest.mark.parametrize("block", [0, *(pytest.param(k, marks=pytest.mark.long) for k in range(1, 8))])
def test_there_and_back_is_the_identity(block, tmp_path):
    fired = 0
    for seed in range(block * 25, block * 25 + 25):
        net, x = random_net(seed)
        how = {"method": ("euler", "exponential", "impulse")[seed % 3], "dt": (1e-4, 1e-3, 1.0)[seed % 3]}
        other = there_and_back(net, x, tmp_path / "net.nir" if seed % 5 == 0 else None, **how)
        with torch.no_grad():
            y, z = net(x), other(x)
        binary = bool(((y == 0) | (y == 1)).all())
        same = torch.equal(y, z) if binary else torch.allclose(y, z, rtol=1e-5, atol=1e-5)  # Linear sums in its order
        assert same, (seed, net, other, (y - z).abs().max())
        fired += int((y != 0).sum())
        ours, theirs = ([p for p in n.parameters()] for n in (net, other))
        for p, q in zip([p for p in ours if p.dim() > 1], [q for q in theirs if q.dim() > 1], strict=True):
            assert (p - q).abs().max() <= 1e-7
    assert fired > 1000


def test_the_random_networks_are_of_every_kind():
    kinds = [{type(m).__name__ for m in random_net(seed)[0].modules()} for seed in range(200)]
    assert sum("Recurrent" in one for one in kinds) == 77 and sum("Conv2d" in one for one in kinds) == 82
    assert sum({"Recurrent", "Conv2d"} <= one for one in kinds) == 26


def run_equations(node, x, dt, exponential=False):
    """The node's differential equations, step by step in double precision, straight from the standard."""
    f = lambda name: np.asarray(getattr(node, name), np.float64)  # noqa: E731
    kind, zeros = type(node).__name__, np.zeros(x.shape[1:])
    leaky = kind not in ("I", "IF")
    tau = f("tau_mem" if kind.startswith("Cuba") else "tau") if leaky else None
    part = (lambda t: -np.expm1(-dt / t)) if exponential else (lambda t: dt / t)
    v, i, out = zeros + (f("v_leak") if leaky else 0.0), zeros, []
    for x_t in x:
        drive = x_t
        if kind.startswith("Cuba"):
            i = i + part(f("tau_syn")) * (f("w_in") * x_t - i)
            drive = i
        v = v + part(tau) * (f("v_leak") - v + f("r") * drive) if leaky else v + dt * f("r") * drive
        fires = v > f("v_threshold") if kind.endswith("IF") else None
        out.append(v if fires is None else fires.astype(float))
        v = v if fires is None else np.where(fires, f("v_reset"), v)
    return np.stack(out)


def numbers(low, high):
    return np.random.default_rng(0).uniform(low, high, 5).astype(np.float32)


MEMBRANE = dict(r=numbers(5, 30), v_leak=numbers(-0.2, 0.2))
FIRES = dict(v_threshold=numbers(0.5, 1.5), v_reset=numbers(-0.3, 0.1))
CUBA = dict(tau_syn=numbers(2e-3, 8e-3), tau_mem=numbers(3e-3, 2e-2), w_in=numbers(1, 3), **MEMBRANE)
NODES = {
    "I": lambda: nir.I(r=numbers(100, 200)),
    "IF": lambda: nir.IF(r=numbers(500, 900), **FIRES),
    "LI": lambda: nir.LI(tau=numbers(2e-3, 2e-2), **MEMBRANE),
    "LIF": lambda: nir.LIF(tau=numbers(2e-3, 2e-2), **MEMBRANE, **FIRES),
    "CubaLI": lambda: nir.CubaLI(**CUBA),
    "CubaLIF": lambda: nir.CubaLIF(**CUBA, **FIRES),
}


@pytest.mark.parametrize("method", ["euler", "exponential"])
@pytest.mark.parametrize("kind", NODES)
def test_a_neuron_follows_the_equations_of_the_standard(kind, method):
    node = NODES[kind]()
    net = exchange.from_nir(nir.NIRGraph.from_list(node), dt=1e-3, method=method)
    x = torch.rand(100, 2, 5)
    with rv.backend("reference"):
        y = net(x).numpy()
    wanted = run_equations(node, x.double().numpy(), 1e-3, method == "exponential")
    assert np.allclose(y, wanted, rtol=1e-4, atol=1e-4) and (y != 0).sum() > 50
    back = exchange.from_nir(exchange.to_nir(net, x, 1e-3, method=method))
    with rv.backend("reference"):
        assert torch.equal(back(x), torch.from_numpy(y))


def test_a_membrane_exactly_at_threshold_fires_here_and_not_there():
    x = torch.full((4, 1, 1), 0.5)
    ours = rv.Sequential(rv.IF(reset="zero"))
    assert ours(x).flatten().tolist() == [0, 1, 0, 1] == there_and_back(ours, x)(x).flatten().tolist()
    one = np.ones(1, np.float32)
    theirs = exchange.from_nir(nir.NIRGraph.from_list(nir.IF(r=one, v_threshold=one)), dt=1.0)
    assert theirs(x).flatten().tolist() == [0, 0, 1, 0]


def test_soft_reset_is_refused_or_listed():
    net, x = rv.Sequential(rv.Linear(3, 4), rv.LIF()), torch.zeros(1, 1, 3)
    with pytest.raises(ValueError, match=r"layer '1' \(LIF\).*reset='zero'.*approximate=True"):
        exchange.to_nir(net, x)
    graph = exchange.to_nir(net, x, approximate=True)
    assert "1: its reset 'subtract'" in graph.metadata["approximations"]
    assert exchange.from_nir(graph)[1].settings["reset"] == "subtract"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (rv.ALIF(), r"layer '1' \(ALIF\) has no node in NIR"),
        (nn.ReLU(), r"layer '1' \(ReLU\) is no spiking layer"),
        (nn.BatchNorm1d(4), "fold it into the layer before"),
        (rv.LIF(reset="none"), "does not reset"),
        (rv.CubaLIF(beta=1.0, reset="zero"), "beta = 1, no leak at all"),
        (rv.Recurrent(rv.ALIF(), 4), "Recurrent of ALIF"),
        (rv.LearnedDelay(4), "rounded to whole steps; export layer.rounded()"),
        (rv.TemporalAttention(2, reduction=1), "has no node in NIR"),
    ],
)
def test_what_nir_cannot_say_is_refused_with_its_path(layer, message):
    net = rv.Sequential(nn.Linear(4, 4), layer)
    with pytest.raises(ValueError, match=message):
        exchange.to_nir(net, torch.zeros(1, 1, 4))


def test_the_time_step_must_be_known():
    one = np.ones(2, np.float32)
    graph = nir.NIRGraph.from_list(nir.LIF(tau=one, r=one, v_leak=0 * one, v_threshold=one))
    with pytest.raises(ValueError, match="has no time step; pass dt"):
        exchange.from_nir(graph)
    with pytest.raises(ValueError, match="below the step of 2 s; use a smaller dt"):
        exchange.from_nir(graph, dt=2.0)
    with pytest.raises(ValueError, match="method must be one of"):
        exchange.from_nir(graph, dt=0.1, method="heun")


def test_a_cycle_through_several_layers_runs_and_comes_back():
    torch.manual_seed(1)
    layers = {"a": rv.LIF(reset="zero"), "b": nn.Linear(4, 4), "c": rv.CubaLIF(reset="zero"), "d": nn.Linear(4, 4)}
    edges = [("in", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("c", "out"), ("a", "out")]
    net, x = exchange.Looped(layers, edges, ["in"], ["out"]), torch.rand(50, 2, 4) * 2
    other = exchange.from_nir(exchange.to_nir(net, x))
    assert isinstance(other[0] if isinstance(other, rv.Sequential) else other, exchange.Looped)
    assert torch.equal(net(x), other(x)) and net(x).sum() > 20
    first, state = rv.scan(other, x[:20])
    second, _ = rv.scan(other, x[20:], state)
    assert torch.equal(torch.cat([first, second]), net(x))


def test_graphs_within_graphs_with_two_outputs():
    one = np.full(3, 1.0, np.float32)
    lif = lambda: nir.LIF(tau=2 * one, r=2 * one, v_leak=0 * one, v_threshold=one)  # noqa: E731
    inner = nir.NIRGraph.from_list(lif(), nir.Linear(np.eye(3, dtype=np.float32)))
    shape = np.array([3])
    nodes = {"x": nir.Input(shape), "in.ner": inner, "keys": lif(), "y": nir.Output(shape), "z": nir.Output(shape)}
    edges = [("x", "in.ner"), ("in.ner", "keys"), ("in.ner", "y"), ("keys", "z")]
    net = exchange.from_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=1.0)
    y, z = net(torch.rand(30, 2, 3) * 2)
    assert y.shape == z.shape == (30, 2, 3) and y.sum() > 0


def test_check_tells_where_two_networks_part():
    x = torch.rand(60, 2, 3)
    net = rv.Sequential(rv.Linear(3, 8), rv.LIF(reset="zero"), rv.Linear(8, 4), rv.LI())
    nn.init.uniform_(net[0].weight, 0.2, 0.8)
    graph = exchange.to_nir(net, x)
    assert exchange.check(net, graph, x).equal
    net[1].threshold += 0.05
    found = exchange.check(net, graph, x)
    assert not found.equal and found.layers[0].first is not None and "differ, from step" in str(found)

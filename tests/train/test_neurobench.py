"""NeuroBench's figures: counted by hand, and by the package itself in an environment of its own."""

import json
import subprocess
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

import ranvier as rv

ROOT = Path(__file__).parents[2]


def dense():
    net = rv.Sequential(rv.Linear(6, 8), rv.LIF(threshold=0.3), rv.Linear(8, 3), rv.LI())
    net[0].weight.data[::2] = 0.0
    return net, (torch.rand(12, 4, 6) < 0.5).float()


def recurrent():
    net = rv.Sequential(nn.Linear(6, 8), rv.Recurrent(rv.ALIF(threshold=0.3), 8), nn.Linear(8, 3))
    return net, torch.rand(12, 4, 6)


def pictures():
    net = rv.Sequential(
        rv.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), rv.LIF(threshold=0.2), nn.Flatten(), nn.Linear(64, 3)
    )
    return net, (torch.rand(12, 4, 2, 7, 7) < 0.5).float()


NETS = {make.__name__: make for make in (dense, recurrent, pictures)}


def built(name):
    torch.manual_seed(0)
    return NETS[name]()


def test_counted_by_hand():
    net, x = built("dense")
    found = rv.train.measures(net, x)
    z = {path: v.detach() for path, v in rv.record(net, x, "z").items()}
    v = z["3"]
    assert found.footprint == sum(t.numel() for t in net.state_dict().values()) * 4
    assert found.connection_sparsity == 24 / 72 and found.dense == 12 * 72
    assert found.acs == (float(x.sum()) * 4 + float(z["1"].sum()) * 3) / 4 and found.macs == 0
    assert found.activation_sparsity == float((z["1"] == 0).sum() + (v == 0).sum()) / (12 * 4 * 11)
    assert not net[0]._forward_pre_hooks and net.training
    assert rv.train.measures(built("recurrent")[0], torch.rand(12, 4, 6)).macs > 0


SCRIPT = """
import json, sys; sys.path.insert(0, {tests!r}); sys.path.insert(0, {src!r})
import torch, ranvier as rv
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from test_neurobench import built
found = {{}}
for name in {names!r}:
    net, x = built(name)
    model = rv.train.neurobench(net)
    model.register_hooks()
    batch = x.transpose(0, 1)
    preds = model(batch)
    ops, activity = SynapticOperations(), ActivationSparsity()
    counted = ops(model, preds, (batch, None))
    found[name] = [Footprint()(model), float(ConnectionSparsity()(model)), activity(model, preds, (batch, None)),
                   counted["Effective_MACs"], counted["Effective_ACs"], counted["Dense"]]
    model.cleanup_hooks()
print(json.dumps(found))
"""


@pytest.mark.peer
def test_the_package_gives_the_same_figures():
    python = ROOT / ".peers" / "neurobench" / "bin" / "python"
    script = SCRIPT.format(tests=str(Path(__file__).parent), src=str(ROOT / "src"), names=tuple(NETS))
    done = subprocess.run([python, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    for name in NETS:
        ours = list(asdict(rv.train.measures(*built(name))).values())
        assert theirs[name][0] == ours[0]
        assert theirs[name][1:] == pytest.approx(ours[1:], abs=1e-3), name  # they round to three or four places


@pytest.mark.skipif(find_spec("neurobench") is not None, reason="neurobench is installed here")
def test_without_the_package_it_says_what_to_install():
    with pytest.raises(ModuleNotFoundError, match=r'pip install "ranvier\[neurobench\]"'):
        rv.train.neurobench(built("dense")[0])

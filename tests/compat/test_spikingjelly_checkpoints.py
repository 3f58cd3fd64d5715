"""Checkpoints of SpikingJelly 2.0.0 load strictly here and the other way round: same keys, order, shapes, outputs."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
PEER = HERE.parents[1] / ".peers" / "spikingjelly" / "bin" / "python"
OURS = "ranvier.compat.spikingjelly"
GOLDEN = json.loads((HERE.parent / "golden" / "sj_checkpoints.json").read_text())


def load():
    spec = importlib.util.spec_from_file_location("checkpoints", HERE / "checkpoints.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


checkpoints = load()
CASES = checkpoints.cases(OURS)


def test_every_case_is_known():
    assert CASES.keys() == GOLDEN.keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_keys_and_shapes_are_the_published_ones(name):
    module, wanted = CASES[name][0](), GOLDEN[name]
    assert {k: list(v.shape) for k, v in module.state_dict().items()} == wanted["state"]
    assert list(module.state_dict()) == list(wanted["state"])
    assert [n for n, _ in module.named_parameters()] == wanted["parameters"]
    other = CASES[name][0]()
    other.load_state_dict(module.state_dict())
    for k, v in module.state_dict().items():
        assert torch.equal(other.state_dict()[k], v)


@pytest.mark.peer
def test_both_ways(tmp_path):
    script, theirs, back = HERE / "checkpoints.py", tmp_path / "theirs.pt", tmp_path / "back.pt"
    subprocess.run([PEER, script, "spikingjelly", theirs], check=True)
    original = torch.load(theirs)
    ours = checkpoints.run(OURS, original)
    torch.save(ours, tmp_path / "ours.pt")
    subprocess.run([PEER, script, "spikingjelly", back, tmp_path / "ours.pt"], check=True)
    returned = torch.load(back)
    for name, wanted in original.items():
        for found in (ours[name], returned[name]):
            torch.testing.assert_close(found["y"], wanted["y"], rtol=1e-6, atol=1e-6)
            assert list(found["state"]) == list(wanted["state"])

"""Checkpoints of snnTorch, PySNN, Norse, pytorch-spiking and Spyx load strictly here, and ours there."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from ranvier.compat.spyx import nn

HERE = Path(__file__).parent
PEERS = HERE.parents[1] / ".peers"
GOLDEN = json.loads((HERE.parent / "golden" / "compat_checkpoints.json").read_text())  # {library: {case: {key: shape}}}
SPYX = {"LIF": "beta", "LI": "beta", "ALIF": "beta gamma", "CuBaLIF": "alpha beta", "RIF": "recurrent_w",
        "RLIF": "beta recurrent_w", "RCuBaLIF": "alpha beta recurrent_w", "PSU_LIF": "beta"}  # fmt: skip

spec = importlib.util.spec_from_file_location("checkpoints_stepwise", HERE / "checkpoints_stepwise.py")
assert spec is not None and spec.loader is not None
stepwise = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stepwise)


def peer(library, *arguments):
    script = "checkpoints_spyx.py" if library == "spyx" else "checkpoints_stepwise.py"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([PEERS / library / "bin" / "python", HERE / script, *arguments], check=True, env=environment)


@pytest.mark.parametrize("library", GOLDEN)
def test_keys_and_shapes_are_the_published_ones(library):
    cases = stepwise.cases(f"ranvier.compat.{library}")
    for name, wanted in GOLDEN[library].items():
        assert {k: list(v.shape) for k, v in cases[name]().state_dict().items()} == wanted, name
    assert cases.keys() == GOLDEN[library].keys()


@pytest.mark.peer
@pytest.mark.parametrize("library", GOLDEN)
def test_both_ways(library, tmp_path):
    peer(library, library, tmp_path / "theirs.pt")
    original = torch.load(tmp_path / "theirs.pt")
    ours = stepwise.run(f"ranvier.compat.{library}", original)
    torch.save(ours, tmp_path / "ours.pt")
    peer(library, library, tmp_path / "back.pt", tmp_path / "ours.pt")
    returned = torch.load(tmp_path / "back.pt")
    for name, wanted in original.items():
        for found in (ours[name], returned[name]):
            torch.testing.assert_close(found["y"], wanted["y"], rtol=1e-6, atol=1e-6)
            assert sorted(found["state"]) == sorted(wanted["state"])


@pytest.mark.peer
def test_spyx_both_ways(tmp_path):
    peer("spyx", tmp_path / "theirs.npz")
    original, ours = dict(np.load(tmp_path / "theirs.npz")), {}
    for kind, names in SPYX.items():
        layer = getattr(nn, kind)((3,))
        assert {k for k in original if k.startswith(f"{kind}/")} == {
            f"{kind}/{n}" for n in [*names.split(), "x.", "y."]
        }
        layer.load_state_dict({n: torch.from_numpy(original[f"{kind}/{n}"]) for n in names.split()})
        ours |= {f"{kind}/{n}": p.numpy() for n, p in layer.state_dict().items()}
        x = original[f"{kind}/x."]
        ours |= {f"{kind}/x.": x, f"{kind}/y.": nn.run(layer, torch.from_numpy(x))[0].detach().numpy()}
    np.savez(tmp_path / "ours.npz", **ours)
    peer("spyx", tmp_path / "back.npz", tmp_path / "ours.npz")
    returned = dict(np.load(tmp_path / "back.npz"))
    for key, wanted in original.items():
        np.testing.assert_allclose(ours[key], wanted, rtol=1e-6, atol=1e-6, err_msg=key)
        np.testing.assert_allclose(returned[key], wanted, rtol=1e-6, atol=1e-6, err_msg=key)

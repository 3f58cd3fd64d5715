"""Sinabs' layers: spikes, states, gradients and keys of release 3.1.3, and what is mended or refused."""

import copy
import importlib.util
import json
import subprocess
from pathlib import Path

import pytest
import torch

from ranvier.compat import sinabs
from ranvier.compat.sinabs import activation as sa
from ranvier.compat.sinabs import layers as sl

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE.parent / "golden" / "sinabs.json").read_text())
PEER = HERE.parents[1] / ".peers" / "sinabs" / "bin" / "python"

spec = importlib.util.spec_from_file_location("sinabs_cases", HERE / "sinabs_cases.py")
assert spec is not None and spec.loader is not None
sinabs_cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sinabs_cases)
CASES = sinabs_cases.cases(sinabs.__name__)


def compare(name, found, wanted):
    assert found.keys() == wanted.keys() and found["keys"] == wanted["keys"]
    for key in wanted.keys() - {"keys"}:
        exact = key.startswith("y") and not name.startswith("ExpLeak")
        size = torch.tensor(wanted[key]).abs().max().item()
        got, there = torch.tensor(found[key]), torch.tensor(wanted[key])
        assert torch.equal(got, there) if exact else (got - there).abs().max() <= 1e-5 * max(size, 1.0), key


@pytest.mark.parametrize("name", GOLDEN)
def test_as_the_original(name):
    compare(name, sinabs_cases.run(CASES[name]), GOLDEN[name])


@pytest.mark.peer
def test_beside_the_original():
    done = subprocess.run([PEER, HERE / "sinabs_cases.py", "sinabs"], capture_output=True, text=True, check=True)
    original = json.loads(done.stdout)
    assert original.keys() == CASES.keys()
    for name, wanted in original.items():
        compare(name, sinabs_cases.run(CASES[name]), wanted)


def test_states_are_kept_reset_and_loaded():
    layer, x = sl.LIF(tau_mem=4.0, tau_syn=2.0, record_states=True), torch.rand(2, 9, 3) * 5
    whole = layer(x)
    assert layer.recordings["v_mem"].shape == x.shape and layer.v_mem.shape == (2, 3)
    layer.reset_states()
    assert torch.equal(torch.cat([layer(x[:, :4]), layer(x[:, 4:])], 1), whole)
    other = sl.LIF(tau_mem=1.0, tau_syn=1.0)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    layer.zero_grad()
    assert not layer.v_mem.requires_grad
    with pytest.raises(ValueError, match="reset_states"):
        layer(x[:1])
    layer(x)
    twin = copy.deepcopy(layer)
    assert not twin.v_mem.requires_grad and torch.equal(twin(x), layer(x))


def test_attributes_act():
    layer, x = sl.LIF(tau_mem=4.0), torch.rand(2, 9, 3) * 8
    before = layer(x)
    changes = {
        "tau_mem": torch.nn.Parameter(torch.tensor(1.0)), "spike_threshold": torch.nn.Parameter(torch.tensor(0.3)),
        "spike_fn": sa.SingleSpike, "reset_fn": sa.MembraneReset(), "norm_input": False,
    }  # fmt: skip
    for name, value in changes.items():
        old = getattr(layer, name)
        layer.reset_states()
        setattr(layer, name, value)
        assert not torch.equal(layer(x), before), name
        setattr(layer, name, old)
    layer.reset_states()
    assert torch.equal(layer(x), before)


def test_batch_and_time_in_one_axis():
    x = torch.rand(2, 5, 3) * 3
    for plain, squeezed in ((sl.IAF, sl.IAFSqueeze), (sl.LIF, sl.LIFSqueeze), (sl.ExpLeak, sl.ExpLeakSqueeze)):
        own = {} if plain is sl.IAF else {"tau_mem": 3.0}
        for how in ({"batch_size": 2}, {"num_timesteps": 5}):
            assert torch.equal(squeezed(**how, **own)(x.flatten(0, 1)), plain(**own)(x).flatten(0, 1))
    with pytest.raises(ValueError, match="batch_size"):
        sl.IAFSqueeze()


def test_a_reset_value_is_where_a_spike_leads():
    """Sinabs 3.1.3 adds it at every step."""
    layer = sl.IAF(reset_fn=sa.MembraneReset(0.2), record_states=True)
    layer(torch.tensor([0.5, 2.7, 0.1]).reshape(1, 3, 1))
    torch.testing.assert_close(layer.recordings["v_mem"].flatten(), torch.tensor([0.5, 0.2, 0.3]))


def test_what_is_not_here_is_refused():
    with pytest.raises(ValueError, match="SingleExponential"):
        sl.IAF(surrogate_grad_fn=torch.sigmoid)
    with pytest.raises(ValueError, match="MultiSpike"):
        sl.IAF(spike_fn=torch.sigmoid)
    for make in (lambda: sl.LIF(tau_mem=0.0), lambda: sl.LIF(tau_mem=float("nan")), lambda: sl.IAF(torch.zeros(()))):
        with pytest.raises(ValueError, match="above 0"):
            make()
    with pytest.raises(ValueError, match="features"):
        sl.IAF()(torch.ones(3, 4))

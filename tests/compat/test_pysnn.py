"""PySNN's names: every sample case of the original, and every defect that is mended, by its number."""

import copy
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ranvier
from ranvier.compat import pysnn
from ranvier.compat.pysnn import connection, encoding, functional, learning, network, neuron, utils

GOLDEN = Path(__file__).parents[1] / "golden"


def tensor(value: Any) -> Any:
    """Golden tensors are {dtype, shape, data}; all else stays."""
    if isinstance(value, dict) and value.keys() == {"dtype", "shape", "data"}:
        return torch.tensor(value["data"], dtype=getattr(torch, value["dtype"])).reshape(value["shape"])
    return value


def cases(name: str) -> list:
    found = json.loads((GOLDEN / f"pysnn_{name}.json").read_text())["cases"]
    return [pytest.param(case, id=case["name"]) for case in found]


def close(got: torch.Tensor, wanted: Any) -> None:
    wanted = tensor(wanted)
    torch.testing.assert_close(got.float(), wanted.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", cases("functional"))
def test_functional(case: dict):
    inputs = {k: tensor(v) for k, v in case["inputs"].items()}
    if case["name"] == "interspike_time":
        assert utils.interspike_time(**inputs) == case["outputs"]["value"]
        return
    update = getattr(functional, f"{case['name']}_update")
    first, *others = inputs
    value = inputs[first].clone()
    for wanted in case["outputs"]["sequence"]:
        value = update(value, **{k: inputs[k] for k in others})
        close(value, wanted)


@pytest.mark.parametrize("case", cases("neurons"))
def test_neurons(case: dict):
    params = {k: tensor(v) for k, v in case["params"].items()}
    cell = getattr(neuron, params.pop("class"))(**params)
    reset = int(case["call"].rsplit("step ", 1)[1]) if "reset_state" in case["call"] else None
    traces = case["inputs"].get("pre_trace")
    for k, wanted in case["outputs"]["initial"].items():
        close(cell.get_buffer("spikes") if k == "spikes_buffer" else getattr(cell, k), wanted)
    for t, x in enumerate(case["inputs"]["x"]):
        if t == reset:
            cell.reset_state()
        spikes, trace = cell(tensor(x), tensor(traces[t])) if traces else cell(tensor(x))
        if case["known_bug"]:
            assert (
                spikes.flatten().tolist()
                == torch.tensor(case["corrected"]["returned_spikes_per_step"][t]).flatten().tolist()
            )
            continue
        got = {"returned_spikes": spikes, "returned_trace": trace, "spikes_buffer": cell.spikes}
        for k, wanted in case["outputs"]["steps"][t].items():
            close(got.get(k, getattr(cell, k, None)), wanted)
            assert got.get(k, spikes).dtype in (tensor(wanted).dtype, spikes.dtype)


def test_mstdpet():
    (case,) = (c.values[0] for c in cases("learning"))
    p = case["params"]
    source = neuron.Input([2, 1, 2], 1.0, 1.0, 0.5)
    dense = connection.Linear(2, 3, 2, 1.0, 0)
    dense.weight.data.copy_(tensor(p["weight0"]))
    lif = neuron.LIFNeuron([2, 1, 3], 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5)
    net = network.SNNNetwork()
    net.add_layer("one", dense, lif)
    rule = learning.MSTDPET(net.layer_state_dict(), p["a_pre"], p["a_post"], p["lr"], p["e_trace_decay"])
    for x, reward, wanted in zip(case["inputs"]["x"], case["inputs"]["reward"], case["outputs"]["steps"], strict=True):
        spikes, trace = lif(*dense(*source(tensor(x)))[:1])
        rule.update_state()
        rule.step(reward)
        got = {"post_spikes": spikes, "post_trace": trace, "conn_trace": dense.trace, "conn_spikes": dense.spikes}
        got |= {"e_trace": rule.layers["one"]["e_trace"], "weight": dense.weight}
        for k, value in got.items():
            close(value, wanted[k])


def run_delay(delay: Any, train: list[int], shape: tuple[int, int] = (1, 1)) -> list:
    dense = connection.Linear(shape[1], shape[0], 1, 1.0, delay)
    dense.reset_weights("constant")
    return [dense(torch.full((1, 1, shape[1]), float(s)), torch.zeros(1, 1, shape[1]))[0] for s in train]


def test_p1_refractory_period_ends_for_any_dt():
    for dt, duration in ((0.001, 0.003), (0.001, 0.004), (0.001, 0.02), (0.1, 0.4), (0.1, 0.8)):
        cell = neuron.LIFNeuron([1, 1, 1], 1.0, 0.0, 1.0, 1.0, dt, duration, 0.5, 0.5)
        rest = round(duration / dt)
        spikes = [t for t in range(3 * (rest + 1)) if cell(torch.full((1, 1, 1, 1), 2.0))[0].item()]
        assert spikes == [0, rest + 1, 2 * (rest + 1)]


def test_p2_divisibility_is_judged_with_tolerance():
    for duration in (0.3, 0.5, 1.0, 2):
        neuron.IFNeuron([1, 1, 1], 1.0, 0.0, 1.0, 1.0, 0.1, duration, 0.5)
    with pytest.raises(ValueError, match="integer amount"):
        neuron.IFNeuron([1, 1, 1], 1.0, 0.0, 1.0, 1.0, 0.1, 0.25, 0.5)
    with pytest.raises(ValueError, match="non-negative"):
        neuron.IFNeuron([1, 1, 1], 1.0, 0.0, 1.0, 1.0, 0.1, -0.1, 0.5)


def test_p3_threshold_relaxes_to_zero_here_and_to_rest_in_the_core():
    cell = neuron.AdaptiveLIFNeuron([1, 1, 1], 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.5, 0.5, 1.0, 0.5)
    cell(torch.ones(1, 1, 1, 1))
    assert cell.thresh.item() == 1.0 * 0.5 + 1.0
    for _ in range(8):
        cell(torch.zeros(1, 1, 1, 1))
    assert cell.thresh.item() < 0.01
    x = torch.zeros(30, 1, 1)
    x[0] = 1.0
    theta = ranvier.record(ranvier.TracedALIF(kappa=1.0, eta=0.5), x, "theta")[""].flatten()
    assert theta[0] == 2.0 and theta[-1] == pytest.approx(1.0, abs=1e-6)


def test_p4_convolution_is_torchs_convolution():
    conv = connection.Conv2d(2, 3, 3, (6, 5), 2, 1.0, 0, stride=1, padding=1)
    x, trace = torch.rand(2, 2, 6, 5), torch.rand(2, 2, 6, 5)
    potential, seen = conv((x > 0.5), trace)
    wanted = torch.nn.functional.conv2d((x > 0.5).float(), conv.weight, padding=1)
    torch.testing.assert_close(potential.sum(-1), wanted)
    torch.testing.assert_close((seen * conv.weight.flatten(1)[:, None, None]).sum(-1),
                               torch.nn.functional.conv2d(trace, conv.weight, padding=1))  # fmt: skip


def test_p5_no_spike_is_lost_or_merged():
    (case,) = (c.values[0] for c in cases("connections") if c.id.startswith("linear_delay"))
    train = [tensor(x).item() for x in case["inputs"]["x"]]
    assert [p.item() for p in run_delay(3, train)] == case["corrected"]["potential_per_step"]
    assert [p.item() for p in run_delay(3, [1, 0, 1, 0, 0, 0, 0])] == [0, 0, 0, 1, 0, 1, 0]
    assert [p.item() for p in run_delay(1, [1] * 6)] == [0, 1, 1, 1, 1, 1]  # sustained input
    per_synapse = run_delay(torch.tensor([[0, 2]]), [1, 0, 0, 1], (1, 2))  # 0 is at once
    assert torch.stack(per_synapse).flatten(1).tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]
    for wrong in (True, 1.0):
        with pytest.raises(TypeError, match="whole number"):
            run_delay(wrong, [1])
    with pytest.raises(ValueError, match=">= 0"):
        run_delay(-1, [1])


def test_p6_pooled_traces_are_those_of_the_spikes():
    (case,) = (c.values[0] for c in cases("connections") if c.id.startswith("maxpool"))
    x, trace = tensor(case["inputs"]["x"]), tensor(case["inputs"]["trace"])
    for pool in (connection.MaxPool2d(2), connection.AdaptiveMaxPool2d(2)):
        spikes, pooled = pool(x, trace)
        assert torch.equal(spikes, tensor(case["corrected"]["spikes"]))
        close(pooled, case["corrected"]["trace"])


def fede_layers() -> tuple[connection.Linear, OrderedDict]:
    dense = connection.Linear(2, 3, 2, 1.0, 0)
    net = network.SNNNetwork()
    net.add_layer("one", dense, neuron.IFNeuron([2, 1, 3], 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.5))
    return dense, net.layer_state_dict()


def test_p7_weights_stay_finite_when_no_trace_is_positive():
    dense, layers = fede_layers()
    before, rule = dense.weight.clone(), learning.FedeSTDP(layers, 0.1, 0.5, 0.3)
    rule.step()
    assert torch.equal(dense.weight, before)
    trace = torch.rand(2, 1, 2)
    dense(trace > 0.5, trace)
    n, d = dense.trace / trace.max(), before - 0.5
    rule.step()
    change = ((-d).exp() * (n.exp() - 0.3) - d.exp() * ((1 - n).exp() - 0.3)).mean(0)
    torch.testing.assert_close(dense.weight.data, before + 0.1 * change)


def test_fede_is_the_cores_rule():
    dense, layers = fede_layers()
    trace, before = torch.rand(2, 1, 2), dense.weight.clone()
    dense(trace > 0.5, trace)
    learning.FedeSTDP(layers, 1.0, 0.5, 0.3).step()
    change = ranvier.plasticity.fede(trace.transpose(0, 1), before, initial=0.5, a=0.3)
    torch.testing.assert_close(dense.weight.data, before + change)


def test_p8_spikes_begin_and_reset_at_false():
    dense = connection.Linear(5, 4, 3, 1.0, 2)
    assert not dense.spikes.any()
    for _ in range(3):
        dense(torch.ones(3, 1, 5), torch.ones(3, 1, 5))
    assert dense.spikes.all()
    dense.reset_state()
    assert not dense.spikes.any() and not dense.trace.any()
    assert not dense(torch.zeros(3, 1, 5), torch.zeros(3, 1, 5))[0].any()


def test_p9_no_spike_while_refractory():
    cell = neuron.IFNeuron([1, 1, 1], 1.0, 1.5, 1.0, 1.0, 1.0, 2.0, 0.5)
    spikes = [cell(torch.zeros(1, 1, 1, 1))[0].item() for _ in range(6)]
    assert spikes == [True, False, False, True, False, False]
    assert cell.refrac_counts.max() <= 2


def test_p10_both_signatures_of_base_neuron():
    page = neuron.BaseNeuron([1, 1, 2], 1.0, 0.0, 0.5, 0.25, 1.0, 3.0, True)
    code = neuron.BaseNeuron([1, 1, 2], 1.0, 0.0, 1.0, 3.0, True)
    named = neuron.BaseNeuron(cells_shape=[1, 1, 2], thresh=1.0, v_rest=0.0, alpha_v=0.5, alpha_t=0.25, dt=1.0,
                              duration_refrac=3.0)  # fmt: skip
    assert page.alpha_v == named.alpha_v == 0.5 and page.alpha_t == named.alpha_t == 0.25
    assert page.dt == code.dt == named.dt == 1.0 and page.duration_refrac == code.duration_refrac == 3.0
    assert page.complete_trace is not None and code.complete_trace is not None and named.complete_trace is None
    with pytest.raises(TypeError, match="not given"):
        neuron.BaseNeuron([1, 1, 2], 1.0, 0.0, 1.0)


@pytest.mark.parametrize("hertz", [40.0, 200.0, 800.0])
def test_p16_the_encoder_is_poisson(hertz: float):
    torch.manual_seed(0)
    counts = encoding.poisson_encoding(torch.full((40000,), hertz), 100, 1).sum(-1).float()
    assert counts.mean().item() == pytest.approx(hertz / 10, rel=0.02)  # the original's saturates
    assert (counts.var() / counts.mean()).item() == pytest.approx(1 - hertz / 1000, rel=0.05)


def test_encoder_layout():
    spikes = encoding.PoissonEncoder(50, 1)(torch.tensor([0.0, 1000.0, 5000.0]))
    assert spikes.shape == (3, 50) and spikes.dtype == torch.bool
    assert not spikes[0].any() and spikes[1:].all()
    assert encoding.poisson_encoding(torch.ones(1), 0.3, 0.1).shape == (1, 3)
    with pytest.raises(ValueError, match=">= 0"):
        encoding.poisson_encoding(torch.tensor([-1.0]), 10, 1)
    with pytest.raises(TypeError, match="float32"):
        encoding.poisson_encoding(torch.tensor([1]), 10, 1)


class Net(network.SNNNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.source = neuron.Input([2, 1, 4], 1.0, 1.0, 0.5)
        self.dense = connection.Linear(4, 3, 2, 1.0, 1)
        self.out = neuron.LIFNeuron([2, 1, 3], 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, store_trace=True)
        self.add_layer("one", self.dense, self.out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.dense(*self.source(x))[0])[0]


def test_a_second_episode_equals_the_first():
    net, x = Net(), (torch.rand(20, 2, 1, 4) > 0.5).float()
    rule = learning.MSTDPET(net.layer_state_dict(), 1.0, 0.5, 0.0, 0.8)

    def episode() -> tuple[torch.Tensor, torch.Tensor]:
        spikes = []
        for x_t in x:
            spikes.append(net(x_t))
            rule.update_state()
        e = rule.layers["one"]["e_trace"].clone()
        net.reset_state()
        rule.reset_state()
        return torch.stack(spikes), e

    (z1, e1), (z2, e2) = episode(), episode()
    assert z1.any() and torch.equal(z1, z2) and torch.equal(e1, e2)


def test_network_refuses():
    net, dense, cell = network.SNNNetwork(), connection.Linear(4, 3, 2, 1.0, 0), Net().out
    net.add_layer("a", dense, cell)
    for name in ("a", "b.c", ""):
        with pytest.raises(KeyError):
            net.add_layer(name, dense, cell)
    with pytest.raises(TypeError, match="not a BaseNeuron"):
        net.add_layer("b", dense, neuron.Input([1], 1.0, 1.0, 0.5))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not a Connection"):
        net.add_layer("b", cell, cell)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty"):
        learning.MSTDPET(OrderedDict(), 1, 1, 1, 1)
    with pytest.raises(TypeError, match="OrderedDict"):
        learning.MSTDPET({}, 1, 1, 1, 1)  # type: ignore[arg-type]


def test_refuses_by_name():
    with pytest.raises(ValueError, match="Unsupported update type"):
        neuron.LIFNeuron([1], 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.5, 0.5, update_type="cubic")
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        neuron.Input([1], 1.0, 1.0, 2.0)
    with pytest.raises(ValueError, match="distribution"):
        connection.Linear(4, 3, 2, 1.0, 0).reset_weights("gaussian")
    with pytest.raises(ValueError, match="input must be"):
        neuron.IFNeuron([2, 1, 3], 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.5)(torch.ones(3))


def test_every_name_is_there():
    names = {
        "functional": "exponential_trace_update linear_trace_update exponential_thresh_update linear_thresh_update "
        "if_voltage_update lif_linear_voltage_update lif_exponential_voltage_update fede_voltage_update",
        "neuron": "BaseInput Input BaseNeuron IFNeuron LIFNeuron AdaptiveLIFNeuron FedeNeuron",
        "connection": "Connection Linear Conv2d MaxPool2d AdaptiveMaxPool2d",
        "learning": "LearningRule MSTDPET FedeSTDP",
        "network": "SNNNetwork",
        "encoding": "poisson_encoding PoissonEncoder",
        "datasets": "Boolean XOR AND OR DiscretizeFloat BooleanNoise Intensity NeuromorphicDataset train_test "
        "ncaltech_train_test nmnist_train_test ncars_train_test",
        "file_io": "Events spike_array_to_events read_1d_spikes encode_1d_spikes read_2d_spikes encode_2d_spikes "
        "read_3d_spikes encode_3d_spikes read_1d_num_spikes encode_1d_num_spikes",
        "utils": "conv2d_output_shape interspike_time tensor_clamp",
    }
    for module, line in names.items():
        for name in line.split():
            assert hasattr(getattr(pysnn, module), name), f"{module}.{name}"


KEYS = ["weight", "delay_init", "dt", "trace", "delay", "spikes"]


def test_delays_are_kept_by_their_published_names():
    delay = torch.tensor([[2, 3], [1, 0]])
    layer = connection.Linear(2, 2, 1, 1.0, delay)
    assert sorted(layer.state_dict()) == sorted(KEYS) and torch.equal(layer.delay_init[0], delay + 1.0)
    assert sorted(connection.Linear(2, 2, 1, 1.0, 0).state_dict()) == sorted(set(KEYS) - {"delay_init"})
    ones, none = torch.ones(1, 1, 2), torch.zeros(1, 1, 2)
    layer(ones, none)
    assert torch.equal(layer.delay[0], torch.tensor([[3.0, 4.0], [2.0, 0.0]]))  # as the original counts a lone spike
    for before in ([none], [ones, none, ones]):  # one spike under way, then several
        for x in before:
            layer(x, none)
        other = connection.Linear(2, 2, 1, 1.0, delay)
        other.load_state_dict(layer.state_dict())
        kept = copy.deepcopy(layer)
        for x in (none, ones, none, none):
            assert torch.equal(kept(x, none)[0], other(x, none)[0])


def test_activation_potential_is_the_first_half_of_a_step():
    layer, x = connection.Conv2d(1, 2, 3, (5, 5), 2, 1.0, 1), torch.ones(2, 1, 5, 5)
    twin = copy.deepcopy(layer)
    for _ in range(3):
        assert torch.equal(layer(x, x)[0], twin.activation_potential(x))


def test_a_bare_learning_rule_may_be_empty():
    rule = learning.LearningRule(OrderedDict(), {})
    pre, post = torch.ones(2, 4, 50, 1024, dtype=torch.bool), torch.ones(2, 4, 32, 32)
    assert torch.equal(rule.pre_mult_post(pre, post, "conv2d"), torch.ones(2, 4, 50, 1024))
    assert torch.equal(rule.reduce_connections(torch.ones(2, 1, 4), "linear"), torch.ones(1, 4))


@pytest.mark.parametrize("form, high", [("1d", (60_000, 0, 1)), ("2d", (255, 255, 1)), ("3d", (4095, 4095, 255))])
def test_event_files_there_and_back(tmp_path, form, high):
    random = np.random.RandomState(0)
    x, y, p = (random.randint(0, h + 1, 50) for h in high)
    p[0], t = 0, np.sort(random.randint(0, 8_000_000, 50)) / 1000
    events = pysnn.file_io.Events(x, None if form == "1d" else y, p, t)
    getattr(pysnn.file_io, f"encode_{form}_spikes")(tmp_path / "a.bin", events)
    again = getattr(pysnn.file_io, f"read_{form}_spikes")(tmp_path / "a.bin")
    for name in ("x", "p", "t") if form == "1d" else ("x", "y", "p", "t"):
        assert np.allclose(getattr(again, name), getattr(events, name), atol=1e-9), name
    with pytest.raises(ValueError, match="dimensions"):
        wrong = pysnn.file_io.Events(x, y if form == "1d" else None, p, t)
        getattr(pysnn.file_io, f"encode_{form}_spikes")(tmp_path / "b.bin", wrong)
    (tmp_path / "a.bin").write_bytes(b"123")
    with pytest.raises(ValueError, match="records"):
        getattr(pysnn.file_io, f"read_{form}_spikes")(tmp_path / "a.bin")


def test_a_file_of_the_published_layout_becomes_frames_of_its_own(tmp_path):
    for part in ("Train", "Test"):
        for digit in "01":
            (tmp_path / part / digit).mkdir(parents=True)
            # x 3, y 4, polarity 1, 2 ms: then x 5, y 6, polarity 0, 4 ms
            record = bytes([3, 4, 0x80, 2000 >> 8, 2000 & 255, 5, 6, 0, 4000 >> 8, 4000 & 255])
            (tmp_path / part / digit / "a.bin").write_bytes(record)
    train, test = pysnn.datasets.nmnist_train_test(tmp_path, sampling_time=2, sample_length=20)
    sample, label = train[1]
    assert len(train) == len(test) == 2 and label == 1 and sample.shape == (2, 34, 34, 10)
    assert sample.nonzero().tolist() == [[0, 6, 5, 2], [1, 4, 3, 1]] and sample.max() == 0.5
    array = pysnn.file_io.read_2d_spikes(train.data[0][0]).to_spike_array()
    assert array.shape == (2, 7, 6, 5) and pysnn.file_io.spike_array_to_events(array).t.tolist() == [4, 2]


def test_boolean_sets_and_their_transforms():
    noisy = pysnn.datasets.AND(data_transform=pysnn.datasets.BooleanNoise(0.2, 0.8), repeats=2)
    sample, label = noisy[1]
    assert sample.shape == (1, 4) and (sample[0, :2] >= 0.8).all() and (sample[0, 2:] < 0.2).all() and label == 0
    assert torch.equal(noisy.data[1], torch.tensor([1.0, 1, 0, 0]))
    assert [pysnn.datasets.OR()[k][1].item() for k in range(4)] == [0, 1, 1, 1]
    assert pysnn.datasets.DiscretizeFloat()(torch.tensor([1.7])).item() == 1
    with pytest.raises(ValueError, match="XOR"):
        pysnn.datasets.Boolean()[0]

"""hxtorch's modules, transforms and handles."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import ranvier
from ranvier.compat.hxtorch import spiking as hx

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(autouse=True)
def backend():
    with ranvier.backend("reference"):
        yield


def golden(name):
    return json.loads((GOLDEN / f"hxtorch_{name}.json").read_text())


def test_a_network_runs_when_asked():
    e = hx.Experiment(mock=True, dt=1e-6)
    synapse, lif = hx.Synapse(4, 3, e), hx.LIF(3, e, threshold=1.0, leak=0.0, reset=0.0)
    drop, out, li = hx.BatchDropout(3, 0.5, e), hx.Synapse(3, 2, e), hx.LI(2, e, leak=0.0)
    with torch.no_grad():
        synapse.weight.fill_(2.0)
    x = torch.ones(20, 2, 4)
    handle = li(out(drop(lif(synapse(hx.TensorHandle(x))))))
    assert not handle.holds("membrane_cadc") and handle
    hx.run(e, 20)
    assert handle.membrane_cadc.shape == (20, 2, 2) and lif.output_handle.spikes.any()
    assert drop.output_handle.spikes.shape == (20, 2, 3)  # D4: the original hands them out as `current`
    assert drop.output_handle.current is lif.output_handle.current
    assert e.connections == []
    handle.membrane_cadc.sum().backward()
    assert synapse.weight.grad is not None
    with pytest.raises(TypeError):
        drop(handle)


def test_aelif_fields_and_warning():
    checks = golden("modules_mock")["checks"]
    e = hx.Experiment(mock=True)
    assert list(hx.AELIF(3, e).output_handle._fields) == checks["AELIF_fields"]
    with pytest.warns(UserWarning):
        layer = hx.AELIF(3, e, fire=False)
    assert list(layer.output_handle._fields) == checks["AELIF_nofire_refractory_warns"]
    full = hx.AELIF(3, e).forward_func(hx.SynapseHandle(torch.zeros(20, 2, 3)))
    assert all(full.holds(name) for name in checks["AELIF_defaults_run"])
    assert list(hx.LIFObservables()._fields) == checks["handle_order"]


def test_eventprop_modules():
    e = hx.Experiment(mock=True)
    synapse, lif = hx.EventPropSynapse(4, 3, e), hx.EventPropLIF(3, e, leak=0.0, reset=0.0, threshold=0.1)
    handle = lif(synapse(hx.TensorHandle(torch.rand(20, 2, 4).round())))
    hx.run(e)
    for name, shape in golden("modules_mock")["checks"]["EventProp_modules"].items():
        got = getattr(handle, name)
        assert (got if shape is None else list(got.shape)) == shape
    handle.spikes.sum().backward()
    assert synapse.weight.grad.shape == (3, 4)


def test_sparse_synapse():
    case = golden("modules_mock")["checks"]["SparseSynapse"]
    e = hx.Experiment(mock=True)
    layer = hx.SparseSynapse(torch.tensor(case["connections"]), e)
    assert list(layer.weight.shape) == case["weight_shape"]
    assert torch.equal((layer.weight != 0).int(), torch.tensor(case["nonzero"], dtype=torch.int32))
    layer.forward_func(hx.TensorHandle(torch.rand(20, 2, 4))).graded_spikes.sum().backward()
    assert not layer.weight.grad[~layer.mask].any()  # D9


def test_parameters():
    case = golden("modules_mock")
    made = dict(
        HX=hx.HXParameter(10), Mixed=hx.MixedHXModelParameter(1.0, 80),
        Transformed=hx.HXTransformedModelParameter(1.0, lambda v: 80 * v), Model=hx.ModelParameter(1.0),
    )  # fmt: skip
    for name, (hardware, model) in case["cases"]["params"].items():
        assert (made[name].hardware_value, made[name].model_value) == (hardware, model)
    for p in made.values():
        p.make_trainable()
        assert p.is_trainable() and isinstance(p.model_value, torch.nn.Parameter)  # D6
        with pytest.raises(ValueError):
            p.set_on_chip(None, None)
    assert len(list(made["HX"].parameters())) == 1
    kind, says = case["checks"]["HXParameter_set_model_value"]
    with pytest.raises(AttributeError, match="no setter"):
        made["HX"].model_value = 3.0
    assert kind == "AttributeError" and "no setter" in says
    for quiet in (hx.ModelParameter(1.0), hx.HXTransformedModelParameter(1.0, lambda v: v)):
        quiet.hardware_value = 7.0
        assert [None, quiet.hardware_value, quiet.model_value] == case["checks"]["Model_set_hw_then_read"]


def test_learned_time_constants():
    e = hx.Experiment(mock=True)
    tau = hx.ModelParameter(torch.tensor(1e-5))
    tau.make_trainable()
    for kind in (hx.ReadoutNeuronExp, hx.LI):  # D5: the original's test compares the current
        li = kind(3, e, leak=0.0, tau_mem=tau)
        li.forward_func(hx.SynapseHandle(torch.rand(9, 2, 3))).membrane_cadc.sum().backward()
        assert tau.model_value.grad.abs() > 0
        tau.model_value.grad = None


def test_d5_fields_hold_what_their_names_say():
    e = hx.Experiment(mock=True)
    x = hx.SynapseHandle(torch.rand(20, 2, 3))
    lif = hx.NeuronExp(3, e, leak=0.0, reset=0.0, threshold=0.5).forward_func(x)
    li = hx.ReadoutNeuronExp(3, e, leak=0.0).forward_func(x)
    assert lif.spikes.any() and set(lif.spikes.unique().tolist()) == {0.0, 1.0} and lif.membrane_madc is None
    torch.testing.assert_close(lif.current, li.current)
    assert (li.current[0] == x.graded_spikes[0]).all() and not li.membrane_cadc[0].any()  # one dt later


def test_d11_a_wrapper_is_a_module_like_any_other():
    class Pair(hx.HXModuleWrapper):
        def forward_func(self, x, hw_data=None):
            lif = self.wrapped["lif"].forward_func(self.wrapped["synapse"].forward_func(x))
            return self.wrapped["synapse"].output_handle, lif

    e = hx.Experiment(mock=True)
    pair = Pair(e, synapse=hx.Synapse(4, 3, e), lif=hx.LIF(3, e, threshold=0.1, leak=0.0, reset=0.0))
    assert len(list(pair.parameters())) == 1 and hx.LIF in {type(m) for m in pair.modules()}
    _, handle = pair(hx.TensorHandle(torch.rand(20, 2, 4)))
    hx.run(e, 20)
    assert handle.spikes.shape == (20, 2, 3)


def test_d12_inputs_of_other_batches_are_refused():
    e = hx.Experiment(mock=True)
    two = [hx.SynapseHandle(torch.rand(20, batch, 3)) for batch in (2, 4)]
    with pytest.raises(ValueError, match="agree"):
        hx.LIF(3, e).forward_func(*two)


def test_handles():
    with pytest.raises(ValueError, match="ambiguous"):
        hx.Handle("a", b=1)
    assert isinstance(hx.Handle("tensor"), hx.TensorHandle) and isinstance(hx.LIFObservables(), hx.Handle)
    a, b = hx.Handle(y=torch.ones(2), x=None), hx.Handle("x", "y")
    assert type(a) is type(b) and not b.holds("y")
    b.clone(a)
    assert a == b and b.holds("y") and bool(hx.Handle("z"))
    with pytest.raises(ValueError):
        b.clone(hx.Handle("z"))


def test_runs_need_a_runtime_on_hardware():
    with pytest.raises(ValueError, match=r"Requested runtime invalid"):
        hx.run(hx.Experiment(), None)


def test_no_hardware_is_not_passed_over():
    with pytest.raises(ValueError, match="mock=True"):
        hx.run(hx.Experiment(), 20)


def test_hardware_records_reach_the_neurons():
    seen = torch.rand(15, 2, 3).round()
    e = hx.Experiment(mock=False, hardware=lambda experiment, runtime: {lif: SimpleNamespace(spikes=seen)})
    synapse, lif = hx.Synapse(4, 3, e), hx.LIF(3, e)
    handle = lif(synapse(hx.TensorHandle(torch.rand(20, 2, 4))))
    hx.run(e, 20)
    assert torch.equal(handle.spikes, seen)


def test_post_process():
    e = hx.Experiment(dt=1e-6)
    lif = hx.LIF(1, e, trace_offset=80.0, trace_scale=0.5, cadc_time_shift=1)
    raw = hx.HardwareObservables(spikes=torch.zeros(4, 1, 1), cadc=torch.tensor([80.0, 82, 84, 90]).reshape(4, 1, 1))
    done = lif.post_process(raw, None)
    assert done.voltage.cadc.flatten().tolist() == [1.0, 2.0, 5.0, 5.0] and done.spikes is raw.spikes
    whole = lif.post_process(hx.HardwareObservables(spikes=torch.ones(4, 1, 1, dtype=torch.bool)), None)
    assert whole.spikes.dtype == torch.get_default_dtype()  # as the model's
    lif.cadc_time_shift, lif.shift_cadc_to_first = -1, True
    assert lif.post_process(raw, 3e-6).voltage.cadc.flatten().tolist() == [0.0, 0.0, 1.0, 2.0]


def test_transforms():
    t = golden("transforms")
    pixels = t["pixels_to_spike_times"]
    for kwargs, wanted in pixels["by_kwargs"].items():
        for dtype, rtol in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
            got = hx.transforms.PixelsToSpikeTimes(**json.loads(kwargs))(torch.tensor(pixels["pic"], dtype=dtype))
            torch.testing.assert_close(got, torch.tensor(wanted, dtype=dtype), rtol=rtol, atol=1e-16)
    s = t["spike_times"]
    dense = hx.transforms.SpikeTimesToDense(s["bin_width"], s["size"])(torch.tensor(s["times"]))
    assert str(dense.dtype) == s["dense_dtype"] and torch.equal(dense, torch.tensor(s["dense"]))
    sparse = hx.transforms.SpikeTimesToSparseTensor(s["bin_width"], s["size"])(torch.tensor(s["times"]))
    assert str(sparse.layout) == s["sparse_layout"] and torch.equal(sparse.to_dense(), dense)
    c = t["coordinates"]
    how = {k: c[k] for k in ("seq_length", "t_early", "t_late", "dt")}
    for extra, name in (({"t_bias": c["t_bias"]}, "with_bias"), ({}, "without_bias")):
        got = hx.transforms.CoordinatesToSpikes(**how, **extra)(torch.tensor(c["coord"], dtype=torch.float64))
        assert got.nonzero().tolist() == c[f"nonzero_{name}"] and list(got.shape) == c[f"shape_{name}"]
    edge = t["edge_cases"]
    for dt, t_bias, wanted in (
        (1e-6, 7e-6, edge["bias_int_truncation_t_bias_7us"]),
        (1e-7, 3 * 1e-7, edge["bias_3dt_with_dt_0.1us_(t=0.3us)"][1]),
    ):
        bias = hx.transforms.CoordinatesToSpikes(10, 0.0, dt, dt, t_bias)(torch.zeros(1, 2))[:, 0, 2]
        assert bias.nonzero().flatten().tolist() == wanted
    with pytest.raises(ValueError, match="steps"):  # the original puts them on wrong rows
        hx.transforms.CoordinatesToSpikes(3, 0.0, 1e-5)(torch.ones(1, 2))
    d = t["decoders"]
    for kind, name in (
        (hx.transforms.MaxOverTime, "max"),
        (hx.transforms.SumOverTime, "sum"),
        (hx.transforms.MeanOverTime, "mean"),
    ):
        torch.testing.assert_close(kind()(torch.tensor(d["x"])), torch.tensor(d[name]))
    w = t["weight_transform"]
    saturating = hx.transforms.linear_saturating
    assert saturating(torch.tensor(w["w"])).tolist() == w["default"]
    assert saturating(torch.tensor(w["w"]), 64).tolist() == w["scale64"]
    assert saturating(torch.tensor(w["w"]), 10, -5, 7).tolist() == w["custom"]
    r = t["hw_weight_rounding"]
    excitatory, inhibitory = ranvier.hardware.six_bits(torch.tensor(r["weight"]))
    assert excitatory.tolist() == r["excitatory"] and inhibitory.tolist() == r["inhibitory_magnitude"]

"""Every attribute of the published classes of PySNN, hxtorch and pytorch-spiking: read, written, acts.

The law: a module whose attribute is set to a value does what a module made with that value does, and not what it did
before. SpikingJelly, snnTorch, Sinabs, Norse and Spyx have it in their own files.
"""

import itertools

import pytest
import torch

import ranvier.compat.hxtorch.spiking as hx
import ranvier.compat.pytorch_spiking as ps
from ranvier.compat.pysnn import connection, learning, network, neuron

CELLS = (2, 1, 3)
LEAK = {"cells_shape": CELLS, "thresh": 0.9, "v_rest": 0.1, "alpha_v": 1.0, "alpha_t": 0.8, "dt": 1,
        "duration_refrac": 1, "tau_t": 0.6}  # fmt: skip
SET = {"thresh": 0.6, "v_rest": 0.2, "alpha_v": 1.5, "alpha_t": 0.5, "duration_refrac": 3, "tau_t": 0.9}
SLOW = {**LEAK, "tau_v": 1.5, "tau_t": 2.0}
PYSNN = {
    "Input": ({"cells_shape": CELLS, "dt": 1, "alpha_t": 0.7, "tau_t": 0.9}, {"alpha_t": 0.5, "tau_t": 0.3}),
    "Input exponential": (
        {"cells_shape": CELLS, "dt": 1, "alpha_t": 0.7, "tau_t": 1.5, "update_type": "exponential"},
        {"alpha_t": 0.5, "tau_t": 3.0, "dt": 0.5},
    ),
    "IFNeuron": (LEAK, SET),
    "LIFNeuron": ({**LEAK, "tau_v": 0.7}, {**SET, "tau_v": 0.4}),
    "LIFNeuron exponential": ({**SLOW, "update_type": "exponential"}, {**SET, "tau_v": 3.0, "tau_t": 3.0, "dt": 0.5}),
    "AdaptiveLIFNeuron": (
        {**LEAK, "tau_v": 0.7, "alpha_thresh": 0.3, "tau_thresh": 0.9},
        {**SET, "tau_v": 0.4, "alpha_thresh": 0.6, "tau_thresh": 0.5},
    ),
    "FedeNeuron": (SLOW, {**SET, "tau_v": 3.0, "tau_t": 3.0, "dt": 0.5}),
}  # fmt: skip


def run_pysnn(module) -> torch.Tensor:
    x = 2 * torch.rand(12, *CELLS, generator=torch.Generator().manual_seed(0))
    module.reset_state()
    if isinstance(module, neuron.BaseInput):
        return torch.stack([module(x_t)[1] for x_t in x])
    module.reset_thresh()
    more = {"FedeNeuron": lambda x_t: (0.1 * x_t.unsqueeze(-1),)}.get(type(module).__name__, lambda x_t: ())
    return torch.stack([module(x_t.unsqueeze(-1), *more(x_t))[1] for x_t in x])


@pytest.mark.parametrize("name, attribute", [(n, a) for n, (_, own) in PYSNN.items() for a in own])
def test_pysnn(name, attribute):
    given, value = PYSNN[name][0], PYSNN[name][1][attribute]
    make = getattr(neuron, name.split()[0])
    module, published = make(**given), {"thresh": "thresh_center"}.get(attribute, attribute)
    held = getattr(module, published)
    torch.testing.assert_close(held, torch.as_tensor(float(given[attribute])).expand_as(held))
    before = run_pysnn(module)
    held.fill_(value)
    after = run_pysnn(module)
    assert torch.equal(getattr(module, published), torch.full_like(held, value))
    assert not torch.equal(after, before)
    assert torch.equal(after, run_pysnn(make(**{**given, attribute: value})))


def test_pysnn_connections():
    x = (torch.rand(8, 2, 1, 3, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    for dense in (connection.Linear(3, 4, 2, 1, 0), connection.Linear(3, 4, 2, 1, 2)):
        before = [dense(x_t, x_t)[0] for x_t in x]
        dense.reset_state()
        dense.weight.data.mul_(2.0)
        assert torch.equal(torch.stack([dense(x_t, x_t)[0] for x_t in x]), 2.0 * torch.stack(before))
    dense.reset_state()
    dense.delay_init.fill_(2)  # a delay of one step, as published
    later = torch.stack([dense(x_t, x_t)[0] for x_t in x])
    wanted = connection.Linear(3, 4, 2, 1, 1)
    wanted.weight.data.copy_(dense.weight)
    assert torch.equal(later, torch.stack([wanted(x_t, x_t)[0] for x_t in x]))
    conv = connection.Conv2d(1, 2, 2, (2, 3), 2, 1, 0)
    image = torch.ones(2, 1, 2, 3)
    before = conv(image, image)[0]
    conv.weight.data.mul_(2.0)
    assert torch.equal(conv(image, image)[0], 2.0 * before)


AELIF = {"leak": 0.05, "reset": -0.1, "threshold": 0.6, "tau_mem": 2e-5, "tau_syn": 5e-6, "refractory_time": 3e-6,
         "exponential_slope": 0.2, "exponential_threshold": 0.5, "subthreshold_adaptation_strength": 0.3,
         "spike_triggered_adaptation_increment": 0.2, "tau_adap": 5e-5, "membrane_capacitance": 2e-5}  # fmt: skip
BASE = {"leak": 0.0, "reset": 0.0, "threshold": 1.0, "tau_mem": 1e-5, "tau_syn": 1e-5, "refractory_time": 1e-6,
        "exponential_slope": 0.1, "exponential_threshold": 0.8, "subthreshold_adaptation_strength": 0.1,
        "spike_triggered_adaptation_increment": 0.1, "tau_adap": 1e-4, "membrane_capacitance": 1e-5}  # fmt: skip
TERMS = ("exponential", "subthreshold", "spike_triggered", "tau_adap")
LIF = {k: v for k, v in AELIF.items() if not k.startswith(TERMS)}
LI = {k: v for k, v in LIF.items() if k not in ("reset", "threshold", "refractory_time")}
HX = {
    "AELIF": AELIF, "LIF": LIF, "LI": LI,
    "EventPropLIF": {k: v for k, v in LIF.items() if k not in ("refractory_time", "membrane_capacitance")},
    "NeuronExp": {k: v for k, v in LIF.items() if k not in ("refractory_time", "membrane_capacitance")},
    "ReadoutNeuronExp": {k: v for k, v in LI.items() if k != "membrane_capacitance"},
}  # fmt: skip


def made(kind: str, experiment, **other):
    names = BASE if kind == "AELIF" else {k: v for k, v in BASE.items() if not k.startswith(TERMS)}
    names = {k: v for k, v in names.items() if not (kind in ("LI", "ReadoutNeuronExp") and k == "refractory_time")}
    return getattr(hx, kind)(3, experiment, **{**names, **other})


def run_hx(module) -> tuple[torch.Tensor, torch.Tensor | None]:
    x = 1.5 * torch.rand(2, 30, 3, generator=torch.Generator().manual_seed(0)).transpose(0, 1)
    if isinstance(module, hx.EventPropLIF):
        x = torch.stack((x, x))
    x.requires_grad_()
    y = module.forward_func(hx.SynapseHandle(graded_spikes=x))
    out = y.membrane_cadc
    total = out.sum() if getattr(y, "spikes", None) is None else (y.spikes * torch.linspace(0, 1, 3)).sum()
    return out.detach(), torch.autograd.grad(total, x, allow_unused=True)[0]


@pytest.mark.parametrize("kind, attribute", [(n, a) for n, own in HX.items() for a in own])
def test_hxtorch(kind, attribute):
    experiment, value = hx.Experiment(mock=True, dt=1e-6), HX[kind][attribute]
    module = made(kind, experiment)
    assert torch.as_tensor(getattr(module, attribute).model_value).item() == pytest.approx(BASE[attribute])
    before = run_hx(module)[0]
    setattr(module, attribute, hx.HXParameter(value))
    after = run_hx(module)[0]
    assert getattr(module, attribute).model_value == value
    assert not torch.equal(after, before)
    assert torch.equal(after, run_hx(made(kind, experiment, **{attribute: value}))[0])


@pytest.mark.parametrize("kind", ["AELIF", "LIF", "NeuronExp"])
def test_hxtorch_surrogates(kind):
    experiment = hx.Experiment(mock=True, dt=1e-6)
    module = made(kind, experiment)
    before = run_hx(module)[1]
    module.alpha = 5.0
    after = run_hx(module)[1]
    assert not torch.equal(after, before) and torch.equal(after, run_hx(made(kind, experiment, alpha=5.0))[1])
    module.method = "unknown"
    with pytest.raises(ValueError, match="unknown"):
        run_hx(module)


def test_hxtorch_synapses_and_records():
    experiment = hx.Experiment(mock=True, dt=1e-6)
    x = hx.LIFObservables(spikes=torch.ones(4, 2, 3))
    synapse = hx.Synapse(3, 2, experiment)
    before = synapse.forward_func(x).graded_spikes
    synapse.weight.data.mul_(2.0)
    torch.testing.assert_close(synapse.forward_func(x).graded_spikes, 2.0 * before)
    sparse = hx.SparseSynapse(torch.ones(3, 2), experiment)
    sparse.mask = torch.zeros_like(sparse.mask)
    assert sparse.forward_func(x).graded_spikes.eq(0).all()
    module, raw = made("LIF", experiment), torch.arange(12.0).view(6, 2, 1)
    seen = [module.post_process(hx.HardwareObservables(cadc=raw)).voltage.cadc]
    for name, value in {
        "trace_offset": 1.0,
        "trace_scale": 2.0,
        "shift_cadc_to_first": True,
        "cadc_time_shift": 1,
    }.items():
        setattr(module, name, value)
        seen.append(module.post_process(hx.HardwareObservables(cadc=raw)).voltage.cadc)
        other = made("LIF", experiment, **{k: getattr(module, k) for k in ("trace_offset", "trace_scale",
                     "shift_cadc_to_first", "cadc_time_shift")})  # fmt: skip
        assert torch.equal(seen[-1], other.post_process(hx.HardwareObservables(cadc=raw)).voltage.cadc)
    assert all(a.shape != b.shape or not torch.equal(a, b) for a, b in itertools.pairwise(seen))


LOWPASS = {"return_sequences": False, "apply_during_training": False}
ACTIVATION = {"activation": torch.sigmoid, "dt": 0.05, "return_sequences": False, "spiking_aware_training": False,
              "initial_state": torch.full((1, 3), 0.9)}  # fmt: skip


@pytest.mark.parametrize(
    "make, given, other",
    [
        (ps.Lowpass, {"tau": 0.1, "units": 3, "dt": 0.01}, LOWPASS),
        (ps.SpikingActivation, {"activation": torch.relu, "dt": 0.01, "initial_state": torch.zeros(1, 3)}, ACTIVATION),
    ],
    ids=["Lowpass", "SpikingActivation"],
)
def test_pytorch_spiking(make, given, other):
    x = 60 * torch.rand(2, 20, 3, generator=torch.Generator().manual_seed(0))
    for name, value in other.items():
        module = make(**given).train()
        before = module(x)
        setattr(module, name, value)
        after, wanted = module(x), make(**{**given, name: value}).train()(x)
        assert torch.equal(held, value) if isinstance(held := getattr(module, name), torch.Tensor) else held == value
        assert after.shape != before.shape or not torch.equal(after, before), name
        assert torch.equal(after, wanted), name


def test_numbers_of_a_lowpass_are_its_parameters():
    x, low = torch.rand(2, 9, 3), ps.Lowpass(0.1, 3, dt=0.01)
    before = low(x)
    low.tau, low.dt = 0.3, 0.05  # read when it is made, there too
    assert torch.equal(low(x), before)
    low.smoothing_var.data.copy_(ps.Lowpass(0.3, 3, dt=0.05).smoothing_var)
    assert torch.equal(low(x), ps.Lowpass(0.3, 3, dt=0.05)(x))
    low.level_var.data.fill_(1.0)
    assert torch.equal(low(x), ps.Lowpass(0.3, 3, dt=0.05, initial_level=torch.ones(1, 3))(x))


@pytest.mark.parametrize("name, value", [("a_pre", 2.0), ("a_post", 2.0), ("lr", 0.1), ("e_trace_decay", 0.3)])
def test_pysnn_learning_rules(name, value):
    def run(rule_given: dict, **later) -> torch.Tensor:
        torch.manual_seed(0)
        net = network.SNNNetwork()
        net.dense, net.cell = connection.Linear(3, 2, 2, 1, 0), neuron.LIFNeuron((2, 1, 2), **one, tau_v=0.7)
        net.add_layer("only", net.dense, net.cell)
        source = neuron.Input((2, 1, 3), 1, 1.0, 0.8)
        rule = learning.MSTDPET(net.layer_state_dict(), **rule_given)
        for k, v in later.items():
            setattr(rule, k, v)
        for x_t in torch.rand(9, 2, 1, 3) > 0.4:
            net.cell(net.dense(*source(x_t))[0])
            rule.update_state()
            rule.step(1.0)
        return net.dense.weight.clone()

    one = {k: v for k, v in LEAK.items() if k != "cells_shape"}
    given = {"a_pre": 1.0, "a_post": 1.0, "lr": 0.01, "e_trace_decay": 0.8}
    after = run(given, **{name: value})
    assert not torch.equal(after, run(given)) and torch.equal(after, run({**given, name: value}))

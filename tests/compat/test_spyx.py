"""Spyx's names give Spyx's numbers (version 1.0.0), but for what is documented to differ."""

import copy
import inspect
import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from ranvier.compat.spyx import axn, data, experimental, fn, nn, phasor

GOLDEN = Path(__file__).parents[1] / "golden"


def cases(name):
    return json.loads((GOLDEN / f"spyx_{name}.json").read_text())["cases"]


def named(case):
    return case.get("fn", case.get("neuron")) + str(case.get("params", "")).replace(" ", "")


def pick(name, *functions):
    return pytest.mark.parametrize("case", [c for c in cases(name) if c.get("fn") in functions], ids=named)


def near(got, wanted, atol=1e-6):
    assert_close(got, torch.tensor(wanted, dtype=got.dtype), rtol=1e-5, atol=atol)


NEURONS = {k: getattr(nn, k) for k in ("IF", "LIF", "LI", "ALIF", "CuBaLIF", "RIF", "RLIF", "PSU_LIF")}


def build(case):
    given = dict(case["params"])
    activation = getattr(axn, given.pop("activation"))()
    neuron = NEURONS[case["neuron"]]((3,), **given, **({} if case["neuron"] == "LI" else {"activation": activation}))
    for name, value in case["param_values"].items():
        getattr(neuron, name).data = torch.tensor(value)
    return neuron


@pytest.mark.parametrize("case", cases("neurons"), ids=named)
@pytest.mark.parametrize("how", ["run", "step", "by hand"])
def test_neurons(case, how):
    neuron = build(case)
    if how == "by hand" and case["neuron"] not in ("LI", "PSU_LIF"):
        activation = neuron.spike
        neuron.spike = lambda x: activation(x)  # a function of the user's: nothing is known of it
    x = torch.tensor(case["x"], requires_grad=True)
    state = neuron.initial_state(x.shape[1])
    assert list(state.shape) == case["initial_state_shape"] and state.dtype == torch.float32
    start = state.requires_grad_()
    if how == "run":
        outputs, state = nn.run(neuron, x, start)
    else:
        steps = []
        for x_t, wanted in zip(x, case["states"], strict=True):
            y, state = neuron(x_t, state)
            near(state.detach(), wanted, 1e-5)
            steps.append(y)
        outputs = torch.stack(steps)
    spiking = case["neuron"] != "LI"
    assert_close(outputs.detach(), torch.tensor(case["outputs"]), rtol=0, atol=0 if spiking else 1e-6)
    near(state.detach(), case["states"][-1], 1e-5)
    outputs.backward(torch.tensor(case["cotangent"]))
    near(x.grad, case["grad_x"], 2e-6)
    near(start.grad, case["grad_state0"], 2e-6)
    for name, wanted in case["grad_params"].items():
        given = torch.tensor({**case["params"], **case["param_values"]}[name])
        got = getattr(neuron, name).grad
        if got.dim() != given.dim():  # a learned number has shape [1]
            got = got.reshape(given.shape)
        inside = torch.ones_like(given, dtype=torch.bool) if name == "recurrent_w" else (given > 0) & (given < 1)
        near(got[inside], torch.tensor(wanted)[inside].tolist(), 1e-5)
        # Where Spyx clips, its gradient is 0 (1/2 on the bounds), for good; here a value may come back inside.
        assert (got[~inside & (given <= 0)] <= 0).all() and (got[~inside & (given >= 1)] >= 0).all()


@pytest.mark.parametrize("case", cases("nn_misc"), ids=lambda c: c["case"][:20])
def test_order_and_strictness(case):
    if "spikes" in case:
        counter = nn.ActivityRegularization((3,))
        spikes = torch.tensor(case["spikes"])
        y, count = nn.run(counter, spikes)
        assert torch.equal(y, spikes) and count.tolist() == case["count"]
        return
    neuron, current = (nn.IF((1,)), 0.5) if case["case"].startswith("IF") else (nn.LIF((1,), beta=1.0), 2.0)
    state = neuron.initial_state(1)
    for wanted_y, wanted_v in zip(case["outputs"], case["states"], strict=True):
        y, state = neuron(torch.full((1, 1), current), state)
        assert y.tolist() == wanted_y and state.tolist() == wanted_v


def test_known_bug_of_the_old_version_is_not_copied():
    """Spyx 0.1.20 subtracts the reset of CuBaLIF twice; 1.0.0 and this do it once."""
    (case,) = (c for c in cases("legacy_0_1_20") if c["fn"].startswith("CuBaLIF"))
    neuron = nn.CuBaLIF((3,), activation=axn.arctan(), **case["params"])
    state = neuron.initial_state(2)
    states = []
    for x_t in torch.tensor(case["x"]):
        _, state = neuron(x_t, state)
        states.append(state)
    assert not torch.allclose(torch.stack(states), torch.tensor(case["states"]))


@pytest.mark.parametrize("case", cases("initialisers"), ids=lambda c: c["param"])
def test_initial_parameters(case):
    kind, name = case["param"].split(".")
    neuron = getattr(nn, kind)((200,) if name == "recurrent_w" else (20000,), rngs=0)
    value = getattr(neuron, name).detach()
    if name == "recurrent_w":  # on purpose: 1 / sqrt(neurons), where Spyx has 0.01
        assert abs(value.std().item() - 0.88 * 200**-0.5) < 1e-3 and value.abs().max() <= 2 * 200**-0.5
        return
    assert abs(value.mean().item() - case["mean"]) < 0.01 and abs(value.std().item() - case["std"]) < 0.01
    assert value.min() >= 0 and value.max() <= 1


def test_a_number_is_learned_and_none_is_per_neuron():
    assert nn.LIF((4,), beta=0.5).beta.shape == () and nn.LIF((4,), beta=0.5).beta.requires_grad
    assert nn.LIF((2, 4)).beta.shape == (2, 4)
    assert nn.LIF((4,), beta=0.0).beta.item() == 0.0  # 0 is a number, not None


def test_many_axes_where_spyx_fails():
    for kind in (nn.ALIF, nn.CuBaLIF):
        y, state = nn.run(kind((4, 5, 3)), torch.rand(6, 2, 4, 5, 3))
        assert y.shape == (6, 2, 4, 5, 3) and state.shape == (2, 4, 5, 6)
    with pytest.raises(ValueError, match="flatten"):
        nn.RLIF((4, 5))


@pytest.mark.parametrize("case", cases("axn"), ids=named)
def test_activations(case):
    if case["fn"] == "custom":
        activation = axn.custom(lambda x: torch.exp(-(x**2)), torch.sigmoid)
    else:
        activation = getattr(axn, case["fn"])(**case["params"])
    x = torch.tensor(case["x"], requires_grad=True)
    y = activation(x)
    near(y.detach(), case["y"])
    y.sum().backward()
    near(x.grad, case["surrogate_derivative"])


def test_custom_without_arguments_multiplies_by_x():
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    axn.custom()(x).sum().backward()
    assert x.grad.tolist() == [-2.0, 0.0, 3.0]


def test_custom_slope_in_plain_arithmetic_is_fused():
    assert axn.custom(lambda x: 1.0 / (1.0 + x * x)).surrogate is not None
    assert axn.custom(torch.cos).surrogate is None


@pick("fn", "integral_accuracy")
def test_accuracy(case):
    score, predictions = fn.integral_accuracy(**case["params"])(
        torch.tensor(case["traces"]), torch.tensor(case["targets"])
    )
    assert predictions.tolist() == case["preds"]
    near(score, case["score"])


@pick("fn", "integral_crossentropy", "mse_spikerate")
def test_losses(case):
    traces, targets = torch.tensor(case["traces"], requires_grad=True), torch.tensor(case["targets"])
    function = getattr(fn, case["fn"])(**case["params"])
    if "out of range" in case.get("note", ""):  # on purpose: Spyx gives such a sample a loss of 0
        with pytest.raises(ValueError, match="labels"):
            function(traces, targets)
        return
    loss = function(traces, targets)
    near(loss.detach(), case["loss"])
    loss.backward()
    near(traces.grad, case["grad"])


@pick("fn", "silence_reg", "sparsity_reg")
def test_regularisers(case):
    tree = {k: torch.tensor(v, requires_grad=True) for k, v in case["spikes"].items()}
    params = {k: v for k, v in case["params"].items() if k != "norm"}
    loss = getattr(fn, case["fn"])(**params)(tree)
    near(loss.detach(), case["loss"])
    loss.backward()
    for k, wanted in case["grad"].items():
        near(tree[k].grad, wanted)


@pytest.mark.parametrize("case", cases("sum_pool"), ids=named)
def test_sum_pool(case):
    shape = case["x_shape"]
    x = torch.arange(float(torch.tensor(shape).prod())).view(shape).requires_grad_()
    y = nn.SumPool(**case["params"])(x)
    near(y.detach(), case["y"])
    (y**2).sum().backward()
    near(x.grad, case["grad_of_sum_sq"])


def test_population_code_groups_as_documented():
    """Spyx sums groups of `num_classes` units and flattens the batch away."""
    y = nn.PopulationCode(3)(torch.arange(12.0).view(2, 6))
    assert y.tolist() == [[1.0, 5.0, 9.0], [13.0, 17.0, 21.0]]


@pick("data", "angle_code", "AngleCode.map")
def test_angle_code(case):
    x = torch.tensor(case["x"])
    if case["fn"] == "angle_code":
        y = data.angle_code(**case["params"])(x)
    else:
        y = data.AngleCode(**case["params"]).map({"obs": x, "labels": 1})["obs"]
    assert y.tolist() == case["y"] and str(y.dtype) == f"torch.{case['dtype']}"


@pick("data", "latency_code", "LatencyCode.map")
def test_latency_code(case):
    x = torch.tensor(case["x"])
    if case["fn"] == "latency_code":
        assert data.latency_code(**case["params"])(x).tolist() == case["y"]
    else:
        assert data.LatencyCode(**case["params"]).map({"obs": x})["obs"].tolist() == case["y_packed"]


def test_rate_code_has_a_time_axis():
    """Spyx repeats features in place: [B, F] -> [B, F * T]. Its sample with a time axis of length 1 is as there."""
    (case,) = (c for c in cases("data") if c["fn"] == "rate_code" and "x_shape" in c)
    assert data.rate_code(4, 1.0)(torch.ones(case["x_shape"]), 0).tolist() == case["y"]
    y = data.rate_code(4, 1.0)(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 0)
    assert y.dtype == torch.uint8 and y.tolist() == [[[0, 1]] * 4, [[1, 0]] * 4]
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        data.rate_code(4)(torch.tensor([[2.0]]))


def test_shuffler():
    (case,) = (c for c in cases("data") if c["fn"] == "shuffler")
    x, labels = torch.arange(30.0).view(10, 3), torch.arange(10)
    obs, out = data.shuffler((x, labels), 4)((x, labels), torch.Generator().manual_seed(0))
    assert list(obs.shape) == case["obs_shape"] and list(out.shape) == case["labels_shape"]
    assert torch.equal(obs[..., 0] / 3, out.float()) and len(out.unique()) == case["unique"]


def test_shift_augment_is_symmetric():
    """Spyx never shifts by +max_shift."""
    x = torch.zeros(2, 7)
    x[:, 3] = 1.0
    where = {int(data.shift_augment(3)(x, seed)[0].argmax()) for seed in range(60)}
    assert where == set(range(7))


@pick("phasor_experimental", "phase_to_spikes")
def test_phases(case):
    spikes = phasor.phase_to_spikes(torch.tensor(case["theta"]), **case["params"])
    assert spikes.tolist() == case["spikes"]
    near(phasor.spikes_to_phase(spikes), case["recovered"])
    assert phasor.spikes_to_phase(torch.zeros(4, 1)).item() == 0.0  # as documented; Spyx gives -pi


@pick("phasor_experimental", "ResonateFire")
def test_resonate_fire(case):
    neuron = phasor.ResonateFire((3,), activation=axn.arctan(), **case["params"])
    x = torch.tensor(case["x"])
    spikes, z = nn.run(neuron, x)
    assert spikes.tolist() == case["outputs"] and torch.equal(spikes, neuron.parallel(x))
    near(z.real.detach(), case["final_z"]["re"], 1e-5)
    near(z.imag.detach(), case["final_z"]["im"], 1e-5)


@pick("phasor_experimental", "ParallelResetLIF.parallel")
@pytest.mark.parametrize("rounds", [1, 3, 9])
def test_parallel_reset_is_exact_for_every_number_of_rounds(case, rounds):
    neuron = experimental.ParallelResetLIF((3,), beta=case["params"]["beta"])
    x = torch.tensor(case["x"])
    assert neuron.parallel(x, rounds).tolist() == case["sequential"] == nn.run(neuron, x)[0].tolist()


ERRORS = {
    "xent time_axis out of range": lambda: fn.integral_crossentropy(time_axis=99)(
        torch.zeros(2, 3, 4), torch.zeros(2).long()
    ),
    "sum_pool bad padding": lambda: nn.sum_pool(torch.zeros(1, 4, 4, 1), 2, 2, "FULL"),
    "sum_pool bad channel axis": lambda: nn.sum_pool(torch.zeros(1, 4, 4, 1), 2, 2, "SAME", 7),
    "run stateless module": lambda: nn.run(nn.Flatten(), torch.zeros(1, 1, 1)),
    "phase_to_spikes T=0": lambda: phasor.phase_to_spikes(torch.zeros(1), 0),
    "ResonateFire dt=0": lambda: phasor.ResonateFire((1,), dt=0.0),
}


@pytest.mark.parametrize("case", cases("errors"), ids=lambda c: c["case"])
def test_errors(case):
    with pytest.raises({"ValueError": ValueError, "TypeError": TypeError}[case["raises"]]):
        ERRORS[case["case"]]()


def test_one_hot_targets_are_refused():
    with pytest.raises((ValueError, TypeError)):
        fn.integral_crossentropy()(torch.zeros(2, 3, 4), torch.zeros(2, 4))


SIGNATURES = {
    nn.IF: "hidden_shape threshold activation name rngs",
    nn.LIF: "hidden_shape beta threshold activation name rngs",
    nn.LI: "layer_shape beta name rngs",
    nn.ALIF: "hidden_shape beta gamma threshold activation name rngs",
    nn.CuBaLIF: "hidden_shape alpha beta threshold activation name rngs",
    nn.RIF: "hidden_shape threshold activation name rngs",
    nn.RLIF: "hidden_shape beta threshold activation name rngs",
    nn.RCuBaLIF: "hidden_shape alpha beta threshold activation name rngs",
    nn.sum_pool: "value window_shape strides padding channel_axis",
    nn.SumPool: "window_shape strides padding channel_axis",
    nn.PopulationCode: "num_classes",
    nn.run: "model x state batch_major",
    fn.integral_accuracy: "time_axis",
    fn.integral_crossentropy: "smoothing time_axis",
    fn.mse_spikerate: "sparsity smoothing time_axis",
    fn.silence_reg: "min_spikes",
    fn.sparsity_reg: "max_spikes norm",
    axn.custom: "bwd fwd",
    axn.tanh: "k",
    axn.boxcar: "width height",
    axn.triangular: "k",
    axn.arctan: "k",
    axn.superspike: "k",
    data.shift_augment: "max_shift axes",
    data.shuffler: "dataset batch_size",
    data.rate_code: "num_steps max_r time_axis",
    data.angle_code: "neuron_count min_val max_val",
    data.latency_code: "num_steps threshold",
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda f: f.__name__)
def test_signatures(function):
    assert list(inspect.signature(function).parameters) == SIGNATURES[function].split()


def test_sequential_runs_as_its_steps():
    torch.manual_seed(0)
    model = nn.Sequential(
        torch.nn.Linear(5, 6), nn.RCuBaLIF((6,)), nn.ActivityRegularization((6,)), torch.nn.Linear(6, 4), nn.LI((4,))
    )
    x = torch.randn(9, 3, 5)
    y, states = nn.run(model, x)
    state, steps = model.initial_state(3), []
    for x_t in x:
        y_t, state = model(x_t, state)
        steps.append(y_t)
    assert_close(y, torch.stack(steps))
    assert_close(states[1], state[1])
    assert_close(nn.run(model, x.transpose(0, 1), batch_major=True)[0], y.transpose(0, 1))


@pytest.mark.parametrize("kind", [nn.IF, nn.LIF, nn.LI, nn.ALIF, nn.CuBaLIF, nn.RIF, nn.RLIF, nn.RCuBaLIF])
def test_attributes_act_and_parameters_have_the_published_names(kind):
    torch.manual_seed(0)
    neuron, x = kind((4,)), torch.rand(12, 2, 4) * 2
    kept = {"IF": "", "LI": "beta", "LIF": "beta", "ALIF": "beta gamma", "CuBaLIF": "alpha beta"}
    looped = kind.__name__.startswith("R")
    wanted = {*kept[kind.__name__[looped:]].split(), *(["recurrent_w"] if looped else [])}
    assert neuron.state_dict().keys() == wanted
    before = nn.run(neuron, x)[0]
    for name in wanted:
        old = getattr(neuron, name)
        setattr(neuron, name, torch.nn.Parameter(old.detach() * 0.0))
        assert not torch.equal(nn.run(neuron, x)[0], before), name
        setattr(neuron, name, old)
    if kind is not nn.LI:
        neuron.threshold = 2.5
        assert not torch.equal(nn.run(neuron, x)[0], before)
        neuron.threshold, neuron.spike = 1, torch.sigmoid
        assert not torch.equal(nn.run(neuron, x)[0], before)
        neuron.spike = axn.superspike()
    assert torch.equal(nn.run(copy.deepcopy(neuron), x)[0], before)


def test_published_keywords():
    x, zeros = torch.ones(1, 2), torch.zeros(1, 4)
    assert nn.LI((2,), None, "readout")(x, Vin=zeros[:, :2])[0].shape == (1, 2)
    assert nn.ALIF((2,), 0.5, 0.5, 1, axn.tanh(), "hidden")(x, VT=zeros)[0].shape == (1, 2)
    assert nn.RCuBaLIF((2,))(x, VI=zeros)[1].shape == (1, 4)
    assert experimental.PSU_LIF is nn.PSU_LIF and experimental.ResonateFire is phasor.ResonateFire

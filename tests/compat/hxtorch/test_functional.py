"""Every golden case of hxtorch's functional interface: values and gradients, float64 to 1e-10, float32 to 1e-4."""

import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import ranvier
from ranvier.compat.hxtorch.spiking import functional as F

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(autouse=True)
def backend():
    """The reference, which needs no compiling: 60 cases are 60 rules. `tests/nn` holds the kernels against it."""
    with ranvier.backend("reference"):
        yield


def golden(name: str) -> dict:
    return json.loads((GOLDEN / f"hxtorch_{name}.json").read_text())


def close(got, wanted, dtype=torch.float64, what=""):
    wanted = torch.tensor(wanted, dtype=dtype)
    tol = 1e-10 if dtype == torch.float64 else 1e-4
    assert tuple(got.shape) == tuple(wanted.shape), (what, got.shape, wanted.shape)
    scale = max(1.0, wanted.abs().max().item())
    assert (got - wanted).abs().max().item() <= tol * scale, (what, (got - wanted).abs().max().item(), scale)


SOFTWARE, INJECTED, LEGACY = golden("aelif_software"), golden("aelif_hw_injection"), golden("legacy_integrations")
PARAMETERS = (
    "leak", "reset", "threshold", "tau_syn", "c_mem", "g_l", "refractory_time", "exp_slope", "exp_threshold",
    "subthreshold_adaptation_strength", "spike_triggered_adaptation_increment", "tau_adap",
)  # fmt: skip


def run_aelif(case: dict, x: torch.Tensor, dtype: torch.dtype, hw_data=None):
    p = case.get("params") or next(c["params"] for c in SOFTWARE["cases"].values() if "params" in c)
    tensors = {k: torch.tensor(p[k], dtype=dtype, requires_grad=True) for k in PARAMETERS}
    flags, hw = case["flags"], case.get("hw_flags", {})
    code = F.CuBaStepCode(
        **flags,
        hw_voltage_trace_available=hw.get("voltage", False),
        hw_adaptation_trace_available=hw.get("adaptation", False),
        hw_spikes_available=hw.get("spikes", False),
    ).generate()
    out = F.cuba_aelif_integration(
        x,
        **tensors,
        method="superspike",
        alpha=p["alpha"],
        dt=p["dt"],
        hw_data=hw_data,
        **flags,
        integration_step_code=code,
    )
    return out, tensors


def check_aelif(case: dict, x, dtype: torch.dtype, hw_data=None):
    out, tensors = run_aelif(case, x, dtype, hw_data)
    close(out.spikes, case["outputs"]["spikes"], dtype, "spikes")
    for name in ("membrane", "current", "adaptation"):
        close(getattr(out, name), case["outputs"][name], dtype, name)
    if "upstream" in case:
        sum((getattr(out, k) * torch.tensor(u, dtype=dtype)).sum() for k, u in case["upstream"].items()).backward()
        for name, wanted in case["grads"].items():
            got = (x[0] if isinstance(x, tuple) else x).grad if name == "input" else tensors[name].grad
            if wanted is None:
                assert got is None or not got.any(), name
            else:
                close(got, wanted, dtype, f"gradient of {name}")
    return out


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", SOFTWARE["cases"])
def test_aelif_software(name, dtype):
    case = SOFTWARE["cases"][name]
    first, second = (torch.tensor(SOFTWARE[k], dtype=dtype) for k in ("input", "second_input"))
    if name == "adaptation_jump_inside_refractory":
        first = torch.full_like(first, 1.5)
    if name == "exponential_only_nonleaky_nofire":
        first = 0.1 * first
    x = (first.requires_grad_(), second) if "tuple" in name else first.requires_grad_()
    check_aelif(case, x, dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", INJECTED["cases"])
def test_aelif_with_records_in_the_place_of_the_model(name, dtype):
    case = INJECTED["cases"][name]
    x = torch.tensor(INJECTED["input"], dtype=dtype, requires_grad=True)
    hw = {k: torch.tensor(INJECTED[f"hw_{k}"], dtype=dtype) for k in ("voltage", "adaptation", "spikes")}
    given = case["hw_flags"]
    every = not any(given.values())
    madc = case["outputs"]["membrane_madc"]
    hw_data = SimpleNamespace(
        voltage=SimpleNamespace(cadc=hw["voltage"] if every or given["voltage"] else None, madc=madc),
        adaptation=SimpleNamespace(
            cadc=hw["adaptation"] if every or given["adaptation"] else None, madc=case["outputs"]["adaptation_madc"]
        ),
        spikes=hw["spikes"] if every or given["spikes"] else None,
    )
    out = check_aelif(case, x, dtype, hw_data)
    assert out.membrane_madc is madc
    assert len(out.membrane) == case["valid_steps"]  # the original hands out uninitialised rows beyond (D1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", LEGACY["cases"])
def test_legacy(name, dtype):
    case = LEGACY["cases"][name]
    x = torch.tensor(LEGACY["input"], dtype=dtype, requires_grad=True)
    cadc, spikes = (torch.tensor(LEGACY[k], dtype=dtype) for k in ("hw_voltage", "hw_spikes"))
    madc = object()
    hw = None if not name.endswith("_hw") else (cadc, madc) if name == "cuba_li_hw" else (spikes, cadc, madc)
    function = getattr(F, f"{name.removesuffix('_hw')}_integration")
    out = function(x, **case["params"], dt=LEGACY["dt"], hw_data=hw)
    for key, wanted in case["outputs"].items():
        if key != "madc":
            close(getattr(out, key), wanted, dtype, key)
    assert out.madc is (madc if hw else None)
    sum((getattr(out, k) * torch.tensor(u, dtype=dtype)).sum() for k, u in case["upstream"].items()).backward()
    close(x.grad, case["grad_input"], dtype, "gradient of the input")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_eventprop_with_the_shipped_adjoint(dtype):
    case = golden("eventprop")["single_layer"]
    spikes, weight = (torch.tensor(case[k], dtype=dtype, requires_grad=True) for k in ("input_spikes", "weight"))
    y = F.EventPropSynapseFunction.apply(spikes, weight)
    y.retain_grad()
    close(y, case["synapse_output"], dtype)
    p = case["params"]
    z, v, i = F.EventPropLIFFunction.apply(
        y, p["leak"], p["reset"], p["threshold"], p["tau_syn"], p["tau_mem"], None, p["dt"]
    )
    for got, name in ((z, "spikes"), (v, "membrane"), (i, "current")):
        close(got, case[name], dtype, name)
    z.backward(torch.tensor(case["upstream_spikes"], dtype=dtype), retain_graph=True)
    close(y.grad, case["grad_stacked"], dtype)
    close(spikes.grad, case["grad_input_spikes"], dtype)
    close(weight.grad, case["grad_weight"], dtype)
    y.grad = None
    (v.sum() + i.sum()).backward()
    close(y.grad, case["grad_when_only_membrane_and_current_have_upstream"], dtype)


def test_eventprop_and_superspike_are_autograd_functions_of_a_single_step_too():
    assert all(issubclass(f, torch.autograd.Function) for f in (F.SuperSpike, F.EventPropLIFFunction))
    x = torch.rand(2, 1, 2, 3, requires_grad=True)
    z, v, i = F.EventPropLIFFunction.apply(x, 0.0, 0.0, 1.0, 6e-6, 6e-6)
    assert z.shape == v.shape == i.shape == (1, 2, 3) and not z.any()
    z.sum().backward()
    assert not x.grad.any()


def test_eventprop_hands_hardware_records_on():
    x = torch.rand(2, 9, 1, 3, requires_grad=True)
    hw = SimpleNamespace(spikes=(torch.rand(9, 1, 3) > 0.5).float(), voltage=SimpleNamespace(cadc=torch.rand(9, 1, 3)))
    z, v, i = F.EventPropNeuronFunction.apply(x, 0.0, 0.0, 1.0, 6e-6, 6e-6, hw)
    assert torch.equal(z, hw.spikes) and torch.equal(v, hw.voltage.cadc) and i is None
    z.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_exponential_euler_equals_its_equation():
    x = torch.rand(12, 2, 3, dtype=torch.float64, requires_grad=True)
    decay = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    with pytest.warns(DeprecationWarning):
        v, i, _ = F.exp_cuba_li_integration(x, leak=0.1, tau_syn_exp=decay, tau_mem_exp=0.9)
    with pytest.warns(DeprecationWarning):
        z, vs, _, _ = F.exp_cuba_lif_integration(
            x, leak=0.1, reset=-0.1, threshold=0.5, tau_syn_exp=decay, tau_mem_exp=0.9, method="superspike", alpha=10.0
        )
    u = torch.full((2, 3), 0.1, dtype=torch.float64)
    w, c = u.clone(), torch.zeros_like(u)
    for t in range(12):
        u = 0.9 * (u - 0.1) + 0.1 + 0.1 * c
        w = 0.9 * (w - 0.1) + 0.1 + 0.1 * c
        c = 0.8 * c + x[t]
        s = (w > 0.5).double()
        w = (1 - s) * w - 0.1 * s
        close(v[t], u.tolist())
        close(i[t], c.tolist())
        close(vs[t], w.tolist())
        assert torch.equal(z[t], s)
    v.sum().backward()
    assert decay.grad.abs() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", ["cases", "hw_cases"])
def test_refractory_update(kind, dtype):
    for case in golden("refractory_update")[kind]:
        one = {k: None if case.get(k) is None else torch.tensor([[case[k]]], dtype=dtype)
               for k in ("z", "v", "ref_state", "spikes_hw", "membrane_hw")}  # fmt: skip
        z, v, left = F.refractory_update(
            **one, reset=case["reset"], refractory_time=case["refractory_time"], dt=case["dt"]
        )
        close(z, case["z_out"], dtype)
        close(v, case["v_out"], dtype)
        wanted = torch.tensor(case["ref_out"]).ceil() if case["z_out"] == [[1.0]] else torch.tensor(case["ref_out"])
        close(left, wanted.tolist(), dtype, str(case))  # whole steps, where the original keeps the quotient


def test_silent_steps_do_not_depend_on_rounding():
    pairs = [
        (torch.float64, 31e-6, 1e-6, 31),
        (torch.float32, 7 * 5e-6, 5e-6, 7),
        (torch.float64, 3e-6, 1e-7, 30),
        (torch.float64, 0.3, 0.1, 3),
    ]
    pairs += [
        (getattr(torch, c["dtype"].removeprefix("torch.")), c["refractory_time"], c["dt"], c["silent_steps"])
        for c in golden("refractory_update")["silent_step_counts"]
    ]
    for dtype, time, dt, steps in pairs:
        spike = torch.ones(1, 1, dtype=dtype)
        _, _, left = F.refractory_update(spike, spike, torch.zeros_like(spike), reset=0.0, refractory_time=time, dt=dt)
        assert left.item() == steps, (dtype, time, dt)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_superspike(dtype):
    for case in golden("superspike")["cases"]:
        x = torch.tensor(case["x"], dtype=dtype, requires_grad=True)
        y = F.SuperSpike.apply(x, torch.tensor(case["alpha"]))
        assert y.dtype == dtype
        close(y, case["y"], dtype)
        y.backward(torch.tensor(case["upstream"], dtype=dtype))
        close(x.grad, case["grad_x"], dtype)
        assert torch.equal(F.threshold(x, "superspike", case["alpha"]), y)
    with pytest.raises(ValueError, match="'foo' is not implemented yet"):
        F.threshold(x, "foo", 1.0)
    assert F.superspike_func(torch.ones(2), 1.0).dtype == torch.float32


def test_unterjubel():
    case = golden("unterjubel")
    model = torch.tensor(case["input"], requires_grad=True)
    injected = torch.tensor(case["injected"], requires_grad=True)
    y = F.Unterjubel.apply(model, injected)
    assert y.tolist() == case["output"]
    y.backward(torch.tensor(case["upstream"]))
    assert torch.equal(model.grad, torch.tensor(case["grad_input"])) and injected.grad is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_linear_family(dtype):
    d = golden("linear")
    up = torch.tensor(d["upstream"], dtype=dtype)

    def fresh():
        return (torch.tensor(d[k], dtype=dtype, requires_grad=True) for k in ("x", "weight", "bias"))

    x, w, b = fresh()
    y = F.linear(x, w, b)
    y.backward(up)
    for got, name in ((y, "y"), (x.grad, "grad_x"), (w.grad, "grad_w"), (b.grad, "grad_b")):
        close(got, d["linear"][name], dtype, name)
    x, w, b = fresh()
    mask = torch.tensor(d["sparse"]["mask"])
    before = w.detach().clone()
    y = F.linear_sparse(x, w, mask)
    y.backward(up)
    close(y, d["sparse"]["y"], dtype)
    close(x.grad, d["sparse"]["grad_x"], dtype)
    close(w.grad, (torch.tensor(d["sparse"]["grad_w"], dtype=dtype) * mask).tolist(), dtype)  # D9: masked
    close(before * mask, d["sparse"]["weight_after"], dtype)  # what the original makes of the parameter itself
    assert torch.equal(w.detach(), before)
    for case in d["clamp"]["cases"]:
        w = torch.tensor(d["clamp"]["weight"], dtype=dtype, requires_grad=True)
        eye = torch.eye(w.shape[1], dtype=dtype)
        y = F.linear_exponential_clamp(eye, w, None, case["cap"], case["start_weight"], case["quantize"]).T
        close(y, case["effective_weight"], dtype, str(case["start_weight"]))
        y.sum().backward()
        close(w.grad, case["grad_w_for_unit_upstream"], dtype, str(case["start_weight"]))
    for start in (62.9, 62.999):  # D10
        w = torch.tensor([0.1, 1.5], dtype=dtype, requires_grad=True)
        F.linear_exponential_clamp(torch.eye(2, dtype=dtype), w.diag(), start_weight=start).sum().backward()
        assert torch.isfinite(w.grad).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_dropout_and_input_neuron(dtype):
    d = golden("dropout_input")
    x, mask = torch.tensor(d["dropout"]["x"], dtype=dtype), torch.tensor(d["dropout"]["mask"])
    close(F.batch_dropout(x, mask), d["dropout"]["y"], dtype)
    d = d["input_neuron"]
    x, hw = torch.tensor(d["x"], dtype=dtype, requires_grad=True), torch.tensor(d["hw"], dtype=dtype)
    close(F.input_neuron(x), d["y_no_hw"], dtype)
    y = F.input_neuron(x, hw)
    close(y, d["y_hw"], dtype)
    y.backward(torch.tensor(d["upstream"], dtype=dtype))
    close(x.grad, d["grad_x"], dtype)
    y = F.input_neuron(x, hw[:3])
    assert list(y.shape) == d["y_hw_shorter_shape"]
    y.sum().backward()  # the original fails here


# What fails in the original fails here, by name, before anything runs.
WRONG = {
    "code_expects_hw_voltage_but_no_hw_data": dict(
        integration_step_code=F.CuBaStepCode(hw_voltage_trace_available=True).generate()
    ),
    "refractory_without_fire": dict(refractory=True, fire=False),
    "input_list": dict(input=[torch.rand(3, 2, 3)]),
    "unknown_method": dict(method="foo"),
    "two_dim_input": dict(input=torch.rand(3, 2)),
    "tau_syn_none": dict(tau_syn=None),
    "flag_mismatch_code_exponential_but_flag_false": dict(
        integration_step_code=F.CuBaStepCode(exponential=True).generate()
    ),
    "code of the user's own": dict(integration_step_code="v = v + 1"),
    "code made with a leak": dict(leaky=False),
    "no time": dict(dt=0.0),
}
GOOD = dict(
    input=torch.rand(3, 2, 3), leak=0.0, reset=0.0, threshold=1.0, tau_syn=1e-5, c_mem=1e-5, g_l=1.0,
    refractory_time=0.0, method="superspike", alpha=10.0, exp_slope=1.0, exp_threshold=1.0,
    subthreshold_adaptation_strength=1.0, spike_triggered_adaptation_increment=1.0, tau_adap=1e-4,
    integration_step_code=F.CuBaStepCode().generate(),
)  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_errors_come_up_front(name):
    F.cuba_aelif_integration(**GOOD)
    with pytest.raises(ValueError):
        F.cuba_aelif_integration(**{**GOOD, **WRONG[name]})


def test_every_error_of_the_original_is_tried():
    known = {k for k, says in INJECTED["errors"].items() if says is not None}
    assert known <= WRONG.keys()
    nothing = SimpleNamespace(voltage=None, adaptation=None, spikes=None)  # "no_hw_observables_at_all": no error
    assert torch.equal(
        F.cuba_aelif_integration(**GOOD, hw_data=nothing).membrane, F.cuba_aelif_integration(**GOOD).membrane
    )


def test_code_that_expects_records_wants_them():
    code = F.CuBaStepCode(hw_voltage_trace_available=True).generate()
    assert isinstance(code, str) and "v = " in code
    with warnings.catch_warnings(), pytest.raises(ValueError, match="hw_data"):
        F.cuba_aelif_integration(
            torch.rand(3, 2, 3), leak=0.0, reset=0.0, threshold=1.0, tau_syn=1e-5, c_mem=1e-5, g_l=None,
            refractory_time=None,
            method="superspike", alpha=10.0, exp_slope=None, exp_threshold=None, subthreshold_adaptation_strength=None,
            spike_triggered_adaptation_increment=None, tau_adap=None, integration_step_code=code,
        )  # fmt: skip

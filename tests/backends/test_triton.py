"""What is the GPU kernels' own: segments of time, marks, strides, half precision; in Triton's interpreter."""

import pytest
import torch
from judging import case, judged

import ranvier as rv
from ranvier.backends import triton_backend
from ranvier.backends.triton_block import Block, Held, block
from ranvier.ops import clamp, maximum, minimum, softplus


def check(given, wanted=None, tolerance=1e-5):
    rule, inputs, initial, params, grads, g_final = given
    wanted = wanted or (True,) * (len(inputs) + len(params))
    ends, true = judged(*given, wanted)
    outputs, final, marks = triton_backend.forward_marked(rule, inputs, initial, params, wanted)
    for got, y in zip((*outputs, final), ends, strict=True):
        torch.testing.assert_close(got, y.to(got.dtype), rtol=tolerance, atol=tolerance)
    assert not rule.binary or torch.equal(outputs[0], ends[0].to(outputs[0].dtype))
    for left in (marks, None):
        g_x, g_initial, g_params = triton_backend.backward(rule, inputs, initial, params, grads, g_final, wanted, left)
        for got, g in zip((*g_x, g_initial, *g_params), true, strict=True):
            bound = tolerance if got.dtype in (torch.float32, torch.float64) else 1e-2
            torch.testing.assert_close(got, g.to(got.dtype), rtol=bound, atol=bound * max(1.0, g.abs().max().item()))


@pytest.fixture
def short(monkeypatch):
    """Segments of four steps, blocks of 32 neurons."""
    monkeypatch.setattr(triton_backend, "block", lambda *given: Block(32, 4, 1))


@pytest.mark.usefixtures("poisoned", "short")
@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("neuron", [rv.LIF, rv.ALIF, rv.LI, rv.TimedLI], ids=lambda c: c.__name__)
def test_time_is_cut_into_segments(neuron, steps):
    check(case(neuron(), steps, 33))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("neurons", [1, 7, 257, 512, 513, 1025])
def test_odd_numbers_of_neurons(neurons):
    check(case(rv.ALIF(beta=torch.rand(neurons)), 18, neurons))


@pytest.mark.usefixtures("poisoned", "short")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_precisions(dtype):
    check(case(rv.ALIF(), 11, 40, dtype), tolerance=1e-3 if dtype.itemsize == 2 else 1e-10)


@pytest.mark.usefixtures("poisoned", "short")
def test_tensors_that_are_the_same_at_all_steps_are_read_as_they_are():
    rule, inputs, initial, params, grads, g_final = case(rv.LIF(), 11, 33)
    still = [inputs[0][:1].expand(11, 33)], [grads[0][:1].expand(11, 33)]
    check((rule, still[0], initial, params, still[1], g_final))
    wide = torch.rand(11, 3, 33)[:, 1]  # every third row of a larger tensor
    check((rule, [wide], initial, params, grads, g_final))


@pytest.mark.usefixtures("poisoned", "short")
@pytest.mark.parametrize("wanted", [(True, False, False, False), (False, True, False, False), (False,) * 4], ids=str)
def test_only_what_is_wanted_is_made(wanted):
    check(case(rv.LIF(), 11, 33), wanted)


def test_a_linear_rule_leaves_no_marks():
    rule, inputs, initial, params, *_ = case(rv.LI(), 11, 33)
    *_, marks = triton_backend.forward_marked(rule, inputs, initial, params, (True, False))
    assert marks.numel() == 0


def test_another_length_of_time_compiles_nothing_new():
    code = triton_backend.module(rv.LIF().bound(()), torch.float32, (True, False, False, False))
    assert all(k.kwargs["do_not_specialize"] == ["T"] for k in (code.forward, code.mark, code.backward))


def test_blocks_grow_with_the_neurons_and_thin_ones_ask_for_more_steps_at_once():
    lif, large = Held(2, 1, 4, 18), Held(4, 2, 9, 288)
    thin, thick = block(4096, 132, lif), block(1 << 22, 132, lif)
    assert thin.BLOCK == 32 and thin.SEGMENT >= 16 and thick.BLOCK == 4 * 32 * thick.num_warps
    assert block(1 << 22, 132, lif, width=2).BLOCK == 8 * 128
    assert block(1 << 22, 132, large).SEGMENT * large.ops <= 1024
    assert all(block(n, 132, held).SEGMENT >= 1 for n in (1, 33, 1 << 30) for held in (lif, large))


class Words(rv.Neuron):
    v = rv.State(0.0)

    @staticmethod
    def rule(x, v):
        return (softplus(x), minimum(x, 0.5), maximum(x, 0.5), clamp(x, -1.0, 1.0), minimum(0.5 + 0.0 * x, x)), v


def test_small_and_missing_numbers():
    """softplus of a large negative number is not 0, and a missing number stays one: as in torch."""
    grid = [-80.0, -40.0, -17.0, -16.0, -10.0, -1.0, 0.0, 3.0, 40.0, torch.inf, -torch.inf, torch.nan]
    x = torch.tensor(grid).reshape(1, 1, -1)
    with rv.backend("reference"):
        true = Words()(x)
    with rv.backend("triton"):
        fast = Words()(x)
    for y, z in zip(true, fast, strict=True):
        torch.testing.assert_close(z, y, rtol=2e-6, atol=0.0, equal_nan=True)


def test_forward_leaves_its_marks_for_backward(monkeypatch):
    """So backward need not walk through time for them, whichever gradients are asked for; without one to ask for, none
    are made."""
    made = []
    marks = triton_backend._Launch.marks
    monkeypatch.setattr(triton_backend._Launch, "marks", lambda run: made.append(run) or marks(run))
    layer, x = rv.ALIF(learn=("beta", "kappa")), torch.rand(9, 2, 33)
    with rv.backend("reference"):
        true = torch.autograd.grad(layer(x.requires_grad_()).square().sum(), [x, layer.beta, layer.kappa])
    with rv.backend("triton"):
        with torch.no_grad():
            layer(x)
        assert not made
        y = layer(x).square().sum()
        for asked, g in zip((x, layer.beta, layer.kappa), true, strict=True):
            (found,) = torch.autograd.grad(y, asked, retain_graph=True)
            torch.testing.assert_close(found, g, rtol=1e-4, atol=1e-5)
    assert len(made) == 1


def test_rows_of_an_input_are_read_where_they_lie(monkeypatch):
    """A picture that every step shows, and a part of a larger batch, are not copied."""
    read, launch = [], triton_backend._Launch.__init__

    def begin(run, rule, inputs, *others):
        read.extend(inputs)
        launch(run, rule, inputs, *others)

    monkeypatch.setattr(triton_backend._Launch, "__init__", begin)
    whole = torch.rand(9, 4, 33)
    for x in (whole[:1].expand(9, 4, 33), whole[:, 1:3]):
        with rv.backend("reference"):
            leaf = x.clone().requires_grad_()
            true = torch.autograd.grad(rv.LIF()(leaf).square().sum(), leaf)
        with rv.backend("triton"):
            leaf = x.detach().requires_grad_()
            found = torch.autograd.grad(rv.LIF()(leaf).square().sum(), leaf)
        torch.testing.assert_close(found, true)
    assert {r.data_ptr() for r in read} == {whole.data_ptr(), whole[:, 1:3].data_ptr()}

"""Derivatives: what torch promises of them holds for every layer, row of layers and backend."""

import re

import pytest
import torch
from catalogue import BATCH, STEPS, WHOLE, one_by_one, tensors
from judge import close, equal, floats, gradients, leaves, outcome, run, weighed
from torch import nn

import ranvier as rv

REFUSED = "first derivatives only"


def test_values_and_gradients_are_those_of_the_layers_one_by_one(case, backend):
    net, x = case.net(), case.x()
    (y, g), (wanted, g_wanted) = outcome(net, x, backend), outcome(one_by_one(case.net()), x, "reference")
    close(y, wanted)
    # of so many neurons behind a norm, rounding makes one spike on one side only
    close(g, g_wanted, 1e-5 if "events+Conv2d+Batch" not in case.name else 0.05)


def test_a_second_derivative_is_right_or_refused(case, backend):
    """Of every input and parameter after every other."""

    def second(net, backend):
        x = leaves(case.x())
        with rv.backend(backend):
            y = run(net, x)
        total = sum((v.square().sum() for v in floats(y)), torch.zeros(()))
        wanted = [v for v in (*tensors(x), *net.parameters()) if v.requires_grad]
        try:
            first = gradients(total, net, x, create_graph=True)
        except RuntimeError as error:  # refused already where it is prepared
            assert re.search(REFUSED, str(error)), error
            return [None] * len(wanted)
        found = []
        for g in first:
            try:
                found.append(gradients(g.square().sum(), net, x, retain_graph=True))
            except RuntimeError as error:
                assert re.search(REFUSED, str(error)), error
                found.append([torch.zeros_like(v) for v in wanted] if not g.requires_grad else None)
        return found

    for found, true in zip(second(case.net(), backend), second(one_by_one(case.net()), "reference"), strict=True):
        assert true is not None
        if found is not None:
            close(found, true, 1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, on the first tangent
def test_forward_mode_is_right_or_refused(kind, backend):
    import torch.autograd.forward_ad as forward

    def tangents(net, backend):
        with forward.dual_level(), rv.backend(backend):
            x = tuple(forward.make_dual(v, torch.ones_like(v)) for v in tensors(kind.x()))
            y = run(net, x if len(x) > 1 else x[0])
            found = [forward.unpack_dual(v).tangent for v in floats(y)]
        return [torch.zeros_like(v) if t is None else t for v, t in zip(floats(y), found, strict=True)]

    try:
        found = tangents(kind.net(), backend)
    except (RuntimeError, NotImplementedError) as error:
        assert re.search("forward.*(AD|mode)|jvp", str(error)), error
        return
    close(found, tangents(one_by_one(kind.net()), "reference"), 1e-4)


def test_what_was_saved_is_unpacked_once(case, backend):
    counts, x, net = [], leaves(case.x()), case.net()

    def pack(v):
        counts.append(0)
        return len(counts) - 1, v

    def unpack(packed):
        at, v = packed
        counts[at] += 1
        return v

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack), rv.backend(backend):
        total = weighed(run(net, x))
    found = gradients(total, net, x)
    assert max(counts, default=0) <= 1
    equal(found, outcome(case.net(), case.x(), backend)[1])


def test_saved_on_the_cpu(kind, backend):
    x, net = leaves(kind.x()), kind.net()
    with torch.autograd.graph.save_on_cpu(), rv.backend(backend):
        total = weighed(run(net, x))
    equal(gradients(total, net, x), outcome(kind.net(), kind.x(), backend)[1])


def test_backward_twice_gives_the_same(kind, backend):
    x, net = leaves(kind.x()), kind.net()
    with rv.backend(backend):
        total = weighed(run(net, x))
    first = gradients(total, net, x, retain_graph=True)
    kept = [g.clone() for g in first]
    equal(gradients(total, net, x), kept)
    equal(first, kept)


def test_each_gradient_is_the_same_whatever_else_is_wanted(kind, backend):
    """Frozen parameters, inputs without gradient, and derivatives by one leaf only."""
    x, net = leaves(kind.x()), kind.net()
    with rv.backend(backend):
        total = weighed(run(net, x))
    wanted = [v for v in (*tensors(x), *net.parameters()) if v.requires_grad]
    whole = gradients(total, net, x, retain_graph=True)
    for at, one in enumerate(wanted):
        (alone,) = torch.autograd.grad(total, one, retain_graph=True, allow_unused=True)
        close([torch.zeros_like(one) if alone is None else alone], [whole[at]])
        frozen, y = kind.net(), leaves(kind.x())
        leaf = [*tensors(y), *frozen.parameters()]
        for k, v in enumerate(leaf):
            v.requires_grad_(k == at)
        with rv.backend(backend):
            part = weighed(run(frozen, y))
        close(gradients(part, frozen, y), [whole[at]])


def test_a_parameter_may_be_frozen_and_thawed(kind, backend):
    net, x = kind.net(), kind.x()
    for p in net.parameters():
        p.requires_grad_(False)
    with rv.backend(backend), torch.no_grad():
        run(net, x)
    outcome(net, x, backend)
    for p in net.parameters():
        p.requires_grad_(True)
    if kind.training:  # running statistics went on
        net.load_state_dict(kind.net().state_dict())
    equal(outcome(net, x, backend)[1], outcome(kind.net(), x, backend)[1])


# Layouts of the gradient of an output [T, B, *F].
GIVEN = {
    "mean over time": lambda g: g[:1].expand_as(g),
    "one number": lambda g: g.flatten()[:1].view((1,) * g.dim()).expand_as(g),
    "over samples": lambda g: g[:, :1].expand_as(g),
    "turned": lambda g: g.transpose(0, -1).contiguous().transpose(0, -1),
    "every other": lambda g: g.repeat_interleave(2, 0)[::2],
    "a part": lambda g: torch.cat([g, g], -1)[..., g.shape[-1] :],
}


def _given(y, way):
    return GIVEN[way](torch.rand(y.shape, generator=torch.Generator().manual_seed(3)).to(y.dtype))


def test_the_layout_of_a_given_gradient_does_not_matter(kind, backend):
    x, net = leaves(kind.x()), kind.net()
    with rv.backend(backend):
        ys = [v for v in floats(run(net, x)) if v.requires_grad]
    wanted = [v for v in (*tensors(x), *net.parameters()) if v.requires_grad]
    for way in GIVEN:
        found, given = [], [_given(y, way) for y in ys]
        for gs in (given, [g.clone(memory_format=torch.contiguous_format) for g in given]):
            gs = torch.autograd.grad(ys, wanted, gs, allow_unused=True, retain_graph=True)
            found.append([torch.zeros_like(v) if g is None else g for v, g in zip(wanted, gs, strict=True)])
        close(*found)


# Layouts of an input [T, B, *F]: the values, and a leaf of which it is a view.
LAYOUTS = {
    "one step for all": lambda v: v[:1].expand_as(v),
    "one sample for all": lambda v: v[:, :1].expand_as(v),
    "one feature for all": lambda v: v[..., :1].expand_as(v),
    "batch first": lambda v: v.transpose(0, 1).contiguous().transpose(0, 1),
    "turned": lambda v: v.transpose(0, -1).contiguous().transpose(0, -1),
    "every other step": lambda v: v.repeat_interleave(2, 0)[::2],
    "a part": lambda v: torch.cat([v, v], -1)[..., v.shape[-1] :],
}


SPREAD = [way for way in LAYOUTS if way.startswith("one")]


@pytest.mark.parametrize("ways", [SPREAD, [way for way in LAYOUTS if way not in SPREAD]], ids=["spread", "laid out"])
def test_the_layout_of_an_input_does_not_matter(kind, backend, ways):
    """As a leaf, too: each number of it has the gradient that a copy's has."""
    if kind.name in ("Dropout", "Dropout2d"):
        pytest.skip("random numbers are drawn in the order of memory, as torch does")
    for way in ways:
        _laid_out(kind, backend, [LAYOUTS[way](v) for v in tensors(kind.x())])


def _laid_out(case, backend, laid):
    """Outputs and gradients are those of inputs in one piece."""
    found = []
    for given in (laid, [v.clone(memory_format=torch.contiguous_format) for v in laid]):
        xs, net = [v.detach().requires_grad_() for v in given], case.net()
        with rv.backend(backend):
            y = run(net, tuple(xs) if len(xs) > 1 else xs[0])
        found.append(([v.detach() for v in tensors(y)], gradients(weighed(y), net, tuple(xs))))
    close(found[0][0], found[1][0])
    close(found[0][1], found[1][1])


def test_a_single_sample_may_have_any_stride(case, backend):
    """Of pictures with channels last; torch's batch norm by itself gives a wrong gradient for some."""
    if len(case.features) < 3 or isinstance(case.x(), tuple):
        pytest.skip("takes no pictures")
    for x in [case.x()[:, :1], *([] if case.name.partition(".")[0] in WHOLE else [case.x()[:1, :1]])]:
        last = x.movedim(2, -1).contiguous().movedim(-1, 2)
        stride = list(last.stride())
        stride[1] = x.shape[2]
        _laid_out(case, backend, [last.as_strided(last.shape, stride)])


def test_the_gradient_of_a_single_sample_may_have_any_stride(case, backend):
    """As `test_a_single_sample_may_have_any_stride`, for the gradient that comes back."""
    if len(case.features) < 3 or isinstance(case.x(), tuple) or case.name.partition(".")[0] in WHOLE:
        pytest.skip("takes no pictures, or several steps at once")

    def odd(g):
        last = g.movedim(2, -1).contiguous().movedim(-1, 2)
        return last.as_strided(last.shape, (last.numel(), g.shape[2], *last.stride()[2:]))

    found = []
    for change in (None, odd):
        x, net = case.x()[:1, :1].detach().requires_grad_(), case.net()
        with rv.backend(backend):
            y = run(net, x)
        if not isinstance(y, torch.Tensor) or y.dim() != 5 or not y.requires_grad:
            pytest.skip("returns no pictures")
        if change:
            y.register_hook(change)
        found.append(gradients(weighed(y), net, x))
    close(*found)


EMPTY = {
    "no step": lambda v: v[:0],
    "no sample": lambda v: v[:, :0],
    "no feature": lambda v: v[..., :0],
}


@pytest.mark.parametrize("size", EMPTY)
def test_empty_inputs_have_empty_outputs_and_gradients_of_zeros(case, backend, size):
    """Or are refused, if the layers one by one refuse them."""
    x = tuple(map(EMPTY[size], tensors(case.x())))
    x = x if len(x) > 1 else x[0]
    try:
        y, g = outcome(one_by_one(case.net()), x, "reference")
    except (ValueError, TypeError, RuntimeError, IndexError):
        with pytest.raises((ValueError, TypeError, RuntimeError, IndexError)):
            outcome(case.net(), x, backend)
        return
    found, g_found = outcome(case.net(), x, backend)
    equal(found, y)
    equal(g_found, g)


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "inf"])
def test_nan_in_one_number_stays_where_it_is(case, backend, value):
    """It reaches what it reaches when the layers run one by one, and nothing else changes. Less of the gradient may be
    no number: a branch that is not taken adds nothing; the number's own neuron may have none at any step."""
    x = case.x()
    for v in tensors(x):
        v[1, BATCH - 1, ..., 0] = value
    (y, g), (wanted, g_wanted) = outcome(case.net(), x, backend), outcome(one_by_one(case.net()), x, "reference")
    close(y, wanted)
    norms = "BatchNorm" in case.name or "deep" in case.name  # whose gradient is a difference of larger numbers
    for a, b in zip(g, g_wanted, strict=True):
        if a.dim() > 2 and a.shape[:2] == (STEPS, BATCH):
            own, its = a[:, -1, ..., 0], b[:, -1, ..., 0]
            own.copy_(its.where(own.isnan(), own))
    close([a.where(b.isfinite(), b) for a, b in zip(g, g_wanted, strict=True)], g_wanted, 1e-3 if norms else 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, "autocast"], ids=str)
def test_short_numbers(case, backend, dtype):
    """Half, bfloat16 and autocast run wherever the layers one by one do, with outputs and gradients of their dtype."""

    def short(net, backend):
        x = leaves(case.x() if dtype == "autocast" else case.x(dtype))
        net = net if dtype == "autocast" else net.to(dtype)
        with rv.backend(backend), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "autocast"):
            y = run(net, x)
        return floats(y), gradients(weighed(y), net, x)

    try:
        wanted, g_wanted = short(one_by_one(case.net()), "reference")
    except (RuntimeError, NotImplementedError) as error:  # what torch itself has no short kernel for
        assert re.search("not implemented for|expected (m1|scalar|mat1)|must have the same dtype", str(error)), error
        return
    found, g_found = short(case.net(), backend)
    assert [v.dtype for v in found] == [v.dtype for v in wanted]
    assert [v.dtype for v in g_found] == [v.dtype for v in g_wanted]
    assert all(bool(v.isfinite().all()) for v in (*found, *g_found))


def test_without_gradients_the_values_are_the_same(case, backend):
    wanted, _ = outcome(case.net(), case.x(), backend)
    with rv.backend(backend):
        with torch.no_grad():
            equal(tensors(run(case.net(), case.x())), wanted)
        with torch.inference_mode():
            equal(tensors(run(case.net(), case.x())), wanted)


def _begun(state):
    """The same state with leaves that want a gradient."""
    if isinstance(state, dict):
        return {k: _begun(v) for k, v in state.items()}
    return leaves(state) if state.is_floating_point() else state


def test_gradients_reach_the_first_state(case, backend):
    """Through `scan` from a state, to every tensor of it."""
    net, x = case.net().eval(), case.x()
    if case.name in (*WHOLE, "MaskedPSN"):
        pytest.skip("sees all steps at once")
    head, tail = (tuple(v[at] for v in tensors(x)) for at in (slice(2), slice(2, None)))
    head, tail = (v if len(v) > 1 else v[0] for v in (head, tail))
    with rv.backend("reference"), torch.no_grad():
        _, state = rv.scan(net, head)
    if not floats(state):
        pytest.skip("no state to begin from")

    def found(net, backend):
        begin = _begun(state)
        with rv.backend(backend):
            y, after = rv.scan(net, tail, begin)
        total = weighed(y) + weighed(after)
        if not total.requires_grad:
            return []
        wanted = floats(begin)
        gs = torch.autograd.grad(total, wanted, allow_unused=True)
        return [torch.zeros_like(v) if g is None else g for v, g in zip(wanted, gs, strict=True)]

    close(found(net, backend), found(case.net().eval(), "reference"))


def test_the_advice_of_a_refusal_works():
    """`with ranvier.backend("reference")` gives every layer its second derivative."""
    x = (torch.rand(3, 2, 20, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    for linear in (nn.Linear, rv.Linear):
        torch.manual_seed(0)
        for net in (rv.Sequential(linear(20, 4), rv.LIF()), rv.Sequential(linear(20, 4), rv.Recurrent(rv.LIF(), 4))):
            with rv.backend("reference"):
                hessian = torch.autograd.functional.hessian(lambda v, net=net: net(v).square().mean(), x)
            assert hessian.abs().sum() > 0.1

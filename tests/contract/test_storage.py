"""Memory: what a user holds is the user's own, and what backward needs is watched."""

import gc
import re

import torch
from catalogue import one_by_one, tensors
from judge import close, equal, floats, gradients, leaves, outcome, run, weighed
from torch import nn

import ranvier as rv


def _in_place(net, x, change, backend):
    """Outputs of which some change, and gradients; None if torch refuses, as it does behind what keeps its output."""
    x = leaves(x)
    given = tuple(v.clone() for v in tensors(x))  # no leaf: a layer may hand on its input
    try:
        with rv.backend(backend):
            ys = [change(v) for v in floats(run(net, given if len(given) > 1 else given[0]))]
        return [v.detach() for v in ys], gradients(weighed(ys), net, x)
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error), error
        return None


def test_outputs_can_be_changed_in_place(case, backend):
    """As with the layers one by one: the gradients are those of the same change made elsewhere."""
    change = lambda v: v.mul_(2).add_(1)  # noqa: E731
    found = _in_place(case.net(), case.x(), change, backend)
    if found is None:
        assert _in_place(one_by_one(case.net()), case.x(), change, "reference") is None
        return
    wanted = _in_place(case.net(), case.x(), lambda v: v.mul(2).add(1), backend)
    equal(found[0], wanted[0])
    equal(found[1], wanted[1])


def test_layers_that_work_in_place_may_follow(stage, backend):
    for last, other in ((nn.ReLU(inplace=True), nn.ReLU()), (nn.Dropout(0.5, inplace=True), nn.Dropout(0.5))):
        found = outcome(rv.Sequential(*stage.net(), last), stage.x(), backend)
        wanted = outcome(rv.Sequential(*stage.net(), other), stage.x(), backend)
        equal(found[0], wanted[0])
        close(found[1], wanted[1])


# Each recorded state is a kernel of its own: few stand for all.
RECORDED = "LIF", "Recurrent", "Refractory", "nn.Linear+LIF", "rv.Linear+LIF+rv.Linear+LI", "nn.Conv2d+LIF+AvgPool2d"


def _traces(name, net, x):
    return [rv.record(net, x, of) for of in ("v", "z")] if name in RECORDED else []


def test_traces_can_be_changed_in_place(kind, backend):
    found = []
    for change in (lambda v: v.mul_(2), lambda v: v.mul(2)):
        x, net = leaves(kind.x()), kind.net()
        with rv.backend(backend):
            total = [change(v) for v in tensors(_traces(kind.name, net, x))]
        found.append(gradients(weighed(total), net, x))
    equal(*found)


def test_what_a_user_holds_is_not_written_again(kind, backend):
    """Outputs, gradients, states and traces of one run stay as they are while others run."""
    net, held, kept = kind.net(), [], []
    for seed in (1, 2, 3):
        x = leaves(kind.x(seed=seed))
        with rv.backend(backend):
            y, state = rv.scan(net, x)
            traces = _traces(kind.name, net, x)
            z = net(x)
        some = [y, state, traces, z, gradients(weighed(z), net, x)]
        for v in tensors(some):
            held.append(v)
            kept.append(v.detach().clone())
    equal(held, kept)


def test_no_two_tensors_that_a_user_holds_share_memory(kind, backend):
    """Outputs, gradients and states, the input and the parameters: each has numbers of its own."""
    net, x = kind.net(), leaves(kind.x())
    with rv.backend(backend):
        y, state = rv.scan(net, x)
    found = gradients(weighed(y) + weighed(state), net, x)
    given = [*tensors(x), *net.parameters(), *net.buffers()]
    seen = {v.untyped_storage().data_ptr() for v in given if v.numel()}
    for v in (*floats(y), *found):
        if any(v is t for t in tensors(x)):
            continue  # handed on as it came, as torch's dropout does in evaluation
        if v.numel() and v.stride() == v.contiguous().stride():
            at = v.untyped_storage().data_ptr()
            assert at not in seen, f"a tensor of shape {tuple(v.shape)} lies in the memory of another"
            seen.add(at)


def test_inputs_and_parameters_are_not_written(kind, backend):
    net, x = kind.net().eval(), leaves(kind.x())
    before = [v.detach().clone() for v in (*tensors(x), *net.parameters(), *net.buffers())]
    with rv.backend(backend):
        gradients(weighed(run(net, x)), net, x)
    equal([*tensors(x), *net.parameters(), *net.buffers()], before)


def _fails_or(wanted, total, net, x):
    """torch's error, or the gradients that are wanted."""
    try:
        found = gradients(total, net, x)
    except RuntimeError as error:
        assert re.search("modified (by an )?inplace", str(error)), error
        return
    equal(found, wanted)


def test_what_backward_needs_may_not_change_before_it(case, backend):
    """Input, parameters and statistics: changed in place, torch raises, or the gradients are the right ones."""
    _, wanted = outcome(case.net(), case.x(), backend)
    count = len(tensors(case.x())) + len([*case.net().parameters(), *case.net().buffers()])
    for at in range(count):
        x, net = leaves(case.x()), case.net()
        given = tuple(v.clone() for v in tensors(x))
        with rv.backend(backend):
            total = weighed(run(net, given if len(given) > 1 else given[0]))
        one = [*given, *net.parameters(), *net.buffers()][at]
        with torch.no_grad():
            one.add_(1)
        _fails_or(wanted, total, net, x)


def test_outputs_that_backward_needs_may_not_change_before_it(case, backend):
    x, net = leaves(case.x()), case.net()
    with rv.backend(backend):
        y = run(net, x)
    total = weighed(y)
    with torch.no_grad():
        for v in floats(y):
            v.add_(1)
    _fails_or(outcome(case.net(), case.x(), backend)[1], total, net, x)


def test_storage_of_parameters_can_be_resized_after_use(kind, backend):
    """As sharding does between uses: no view of a parameter's memory outlives a call."""
    x, net = leaves(kind.x()), kind.net()
    with rv.backend(backend):
        gradients(weighed(run(net, x)), net, x)
    gc.collect()
    for v in (*net.parameters(), *net.buffers()):
        size = v.untyped_storage().nbytes()
        v.data.untyped_storage().resize_(0)
        v.data.untyped_storage().resize_(size)


def test_gradients_gather_where_some_are(kind, backend):
    net, x = kind.net(), kind.x()
    for _ in range(2):
        with rv.backend(backend):
            y = weighed(run(net, x))
        if y.requires_grad:
            y.backward()
        if kind.training:
            net.load_state_dict(kind.net().state_dict())
    once = gradients_of_parameters(kind, backend)
    close([torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()], [2 * g for g in once], 1e-6)


def gradients_of_parameters(case, backend):
    net = case.net()
    with rv.backend(backend):
        return gradients(weighed(run(net, case.x())), net, ())


def test_the_loop_of_layers_is_the_judge_of_itself(kind, backend):
    """`one_by_one` gives what the network gives, so the judge asks the same question."""
    equal(outcome(one_by_one(kind.net()), kind.x(), "reference")[0], outcome(kind.net(), kind.x(), "reference")[0])

"""500 random rules: what is derived and printed must say what autograd says of the rule itself."""

import pytest
import torch
from random_rules import rule, together, values

from printed import printed
from ranvier import Neuron, Param, State
from ranvier.backends import choose, reference
from ranvier.ops import exp, spike

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}


def leaves(inputs, state, params):
    return [[v.clone().requires_grad_() for v in vs] for vs in (inputs, state, params)]


def differentiated(results, grads, wanted):
    """The gradients that autograd finds, zeros where it finds none."""
    pairs = [(y, g) for y, g in zip(results, grads, strict=True) if g is not None and y.requires_grad]
    if not pairs:
        return [torch.zeros_like(v) for v in wanted]
    found = torch.autograd.grad([y for y, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for v, g in zip(wanted, found, strict=True)]


def by(run, rule, dtype, wide=False):
    """Outputs, final states and gradients of all that goes in."""
    *given, grads = values(rule, dtype, wide)
    xs, state, params = leaves(*given)
    outputs, after = run(rule, xs, state, params)
    found = differentiated([*outputs, *after], grads, [*xs, *state, *params])
    return [v.detach() for v in (*outputs, *after)], found


def by_printed_lines(rule, dtype):
    """The printed step forward, the printed adjoint backward; the states it says it does not need are NaN there."""
    xs, state, params, grads = values(rule, dtype)
    step = printed("step", rule.step, dtype)
    wanted = (True,) * (len(xs) + len(params))
    graph = rule.backward(wanted)
    back, seen = printed("back", graph, dtype), rule.retraced(graph)
    like, trail, outputs = state[0], [], []
    for now in zip(*xs, strict=True):
        trail.append([s if k in seen else torch.full_like(s, torch.nan) for k, s in enumerate(state)])
        results = [v.expand_as(like) for v in step(*now, *state, *params)]
        outputs.append(results[: len(rule.outputs)])
        state = results[len(rule.outputs) :]
    results = [*map(torch.stack, zip(*outputs, strict=True)), *state]
    grads = [torch.zeros_like(y) if g is None else g for y, g in zip(results, grads, strict=True)]
    g_outputs, carry = grads[: len(rule.outputs)], grads[len(rule.outputs) :]
    g_inputs, sums = [], [torch.zeros_like(like)] * len(params)
    for t in reversed(range(len(xs[0]))):
        found = back(*(x[t] for x in xs), *trail[t], *params, *(g[t] for g in g_outputs), *carry)
        found = [v.expand_as(like) for v in found]
        carry, gx, gp = found[: len(carry)], found[len(carry) : len(carry) + len(xs)], found[len(carry) + len(xs) :]
        g_inputs.insert(0, gx)
        sums = [a + b for a, b in zip(sums, gp, strict=True)]
    g_inputs = [torch.stack(g) for g in zip(*g_inputs, strict=True)]
    return results, [*g_inputs, *carry, *(g.sum_to_size(p.shape) for g, p in zip(sums, params, strict=True))]


def agree(rule, true, fast, dtype):
    for what, wanted, got in zip(("value", "gradient"), true, fast, strict=True):
        for k, (a, b) in enumerate(zip(wanted, got, strict=True)):
            finite = a.isfinite()  # where autograd finds 0 x inf, the derived adjoint may know better
            error = torch.where(finite, b - a, 0.0).abs().max().item()
            scale = max(1.0, torch.where(finite, a, 0.0).abs().max().item())
            assert error <= TOLERANCE[dtype] * scale, f"{rule.name}: {what} {k} is {b.tolist()}, wanted {a.tolist()}"


@DTYPES
def test_printed_lines_say_what_autograd_says(dtype):
    for seed in range(500):
        one = rule(seed)
        agree(one, by(reference.scan, one, dtype), by_printed_lines(one, dtype), dtype)


def compiled(backend, seeds, dtype):
    one = together([rule(seed) for seed in seeds])
    choose.op.register(one)
    wide = backend == "triton"  # its interpreter cannot join conditions on one number with conditions on many
    true = by(reference.scan, one, dtype, wide)
    with choose.backend(backend):
        fast = by(choose.carry, one, dtype, wide)
    agree(one, true, fast, dtype)


KERNELS = pytest.mark.parametrize(("backend", "dtype"), [("numba", torch.float32), ("triton", torch.float64)], ids=str)


@KERNELS
def test_compiled_kernels_say_what_autograd_says(backend, dtype):
    compiled(backend, range(5), dtype)


@pytest.mark.long
@KERNELS
@pytest.mark.parametrize("start", range(0, 500, 20))
def test_all_rules_compiled(start, backend, dtype):
    compiled(backend, range(start, start + 20), dtype)


class Tidy(Neuron):
    """A leaky neuron."""

    beta, threshold = Param(0.9), Param(1.0)
    v = State(0.0)

    @staticmethod
    def rule(x, v, beta, threshold):
        v = beta * v + x
        z = spike(v - threshold)
        return z, (v - z * threshold,)


def test_lines_that_nothing_reads_change_nothing():
    class Untidy(Tidy):
        @staticmethod
        def rule(x, v, beta, threshold):
            drive = x * 2.0
            gain = exp(-drive)
            v = beta * v + x
            lost = gain * v
            z = spike(v - threshold)
            spike(lost)
            return z, (v - z * threshold,)

    Untidy.__name__ = "Tidy"
    x = (torch.randint(0, 5, (40, 4, 8), generator=torch.Generator().manual_seed(0)) / 4).float()
    found = []
    for neuron in (Tidy(learn="threshold"), Untidy(learn="threshold")):
        y, state = neuron.scan(x)
        (y.cumsum(0).sum() + state["v"].sum()).backward()
        found.append((neuron.bound(()).key, neuron.bound(()).step, neuron.threshold.grad))
    assert found[0][:2] == found[1][:2] and torch.equal(found[0][2], found[1][2])


def test_a_graph_has_one_value_of_a_name():
    graph = Tidy().bound(()).step
    with pytest.raises(ValueError, match="two values of one name"):
        type(graph)(graph.inputs, (*graph.ops, graph.ops[0]), graph.outputs)

"""Traces on every backend equal those of the reference, which differentiates each step by torch."""

import pytest
import torch

import ranvier as rv
from everything import NEURONS
from ranvier.backends import op
from ranvier.backends.choose import BACKENDS
from ranvier.backends.traces import Call, Layout, Traces, carry_traces
from ranvier.derive.influence import followed, influence

SHAPES = [(1, Layout(1, 1), 1), (7, Layout(3, 5, 2), 65), (9, Layout(2, 33), 3), (70, Layout(1, 3), 7)]


def call(rule, values, steps, layout, width, dtype, silent=False):
    """A call with random numbers in it, and traces that are not zero."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64).to(dtype)

    learned = influence(rule, (*(f"{k}_" for k in rule.params if k not in rule.numbers), rule.arguments[0]))
    inputs = [drawn(steps, layout.neurons) * 1.6 - 0.3 for _ in rule.inputs]
    initial, params = drawn(len(rule.states), layout.neurons) * 0.5, op.flat_params(values, (layout.neurons,), dtype)
    grads = [drawn(1 if silent else steps, layout.neurons) - 0.5 for _ in rule.outputs]
    came = drawn(steps, layout.batch * layout.places, width) - 0.5
    signals = (*rule.arguments[: len(inputs)], *(learned.name(s) for s in learned.states))
    traces = Traces.zeros(learned, layout, width, came)
    traces = Traces(*(drawn(*t.shape) for t in traces))
    return Call(learned, inputs, initial, params, grads, came, layout, signals), traces


def compare(neuron, backend, dtype, shapes=SHAPES):
    tolerance = {torch.float32: 2e-4, torch.float64: 1e-10}[dtype]
    neuron = neuron.to(dtype)
    rule, values = neuron.bound(()), [v.detach() for v in neuron.values(torch.empty(0, dtype=dtype))]
    for at, shape in enumerate(shapes):
        given, first = call(rule, values, *shape, dtype, silent=at == 2)
        other = first.clone()
        true = carry_traces(BACKENDS["reference"], given, first)
        fast = carry_traces(BACKENDS[backend], given, other)
        for a, b in zip(
            (true.weight, true.own, *true.signals, *first), (fast.weight, fast.own, *fast.signals, *other), strict=True
        ):
            assert a.shape == b.shape and (a - b).norm() <= tolerance * max(a.norm().item(), 1.0), (backend, shape)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("backend", ["numba", "triton"])
def test_traces_agree_with_the_reference(backend):
    compare(rv.ALIF(), backend, torch.float32)
    compare(rv.LIF(beta=torch.rand(1).item(), detach_reset=True), backend, torch.float64, SHAPES[1:2])


@pytest.mark.slow  # a kernel for each
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("backend", ["numba", "triton"])
@pytest.mark.parametrize("kind", NEURONS, ids=lambda c: c.__name__)
def test_traces_of_every_neuron_agree_with_the_reference(kind, backend):
    compare(kind(), backend, torch.float64, SHAPES[1:3])


def test_a_neuron_and_its_readout_and_parameters_of_each_neuron():
    rule = followed(rv.LIF().bound(()), rv.CubaLI().bound(()))
    layout = Layout(2, 5)
    values = [torch.rand(10, dtype=torch.float64) if k == "beta" else torch.tensor(0.7) for k in rule.params]
    given, first = call(rule, values, 9, layout, 4, torch.float64)
    for backend in ("numba", "triton"):
        other = first.clone()
        start = first.clone()
        true = carry_traces(BACKENDS["reference"], given, start)
        fast = carry_traces(BACKENDS[backend], given, other)
        for a, b in zip((true.weight, true.own, *start), (fast.weight, fast.own, *other), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12)

"""The verbs: scan, step, record, detach, Stream, explain."""

import threading

import pytest
import torch
from torch import nn

import ranvier as rv


class Residual(nn.Module):
    """A network of one's own, not a Sequential."""

    def __init__(self):
        super().__init__()
        self.first, self.lif, self.second = nn.Linear(4, 4), rv.LIF(), rv.CubaLIF()

    def forward(self, x):
        return x + self.second(self.first(self.lif(self.first(x))))


def test_verbs_work_for_any_module():
    net, x = Residual(), torch.rand(6, 2, 4)
    whole, after = rv.scan(net, x)
    assert torch.equal(whole, net(x))
    assert {k: sorted(v) for k, v in after.items()} == {"lif": ["v"], "second": ["i", "v"]}
    steps, state = [], None
    for x_t in x:
        y_t, state = rv.step(net, x_t, state)
        steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps), whole)
    traces = rv.record(net, x, "i")
    assert list(traces) == ["second"] and traces["second"].shape == (6, 2, 4)


def test_record_gives_states_after_each_step_and_is_differentiable():
    layer = rv.LIF(beta=0.5, learn="beta")
    x = torch.rand(6, 2, 3)
    traces = rv.record(layer, x, "v")
    _, after = layer.scan(x)
    assert torch.equal(traces[""][-1], after["v"])
    assert torch.equal(rv.record(layer, x, "z")[""], layer(x))
    traces[""].sum().backward()
    with rv.backend("reference"):
        other = rv.LIF(beta=0.5, learn="beta")
        rv.record(other, x, "v")[""].sum().backward()
    torch.testing.assert_close(layer.beta.grad, other.beta.grad)
    with pytest.raises(ValueError, match="no layer of this network has a state 'w'; there are \\['v', 'z'\\]"):
        rv.record(layer, x, "w")


def test_a_layer_used_twice_has_no_single_state():
    lif = rv.LIF()
    net = nn.Sequential(lif, nn.Identity(), lif)
    x = torch.rand(3, 2, 4)
    assert net(x).shape == x.shape
    with pytest.raises(ValueError, match="layer '0' \\(LIF\\) runs twice"):
        rv.scan(net, x)


def test_a_layer_used_twice_has_no_single_trace():
    """Not one without state either, by itself or within a stage."""
    fire, norm = rv.Heaviside(), rv.ThresholdBatchNorm2d(2)
    with pytest.raises(ValueError, match="layer '0' \\(Heaviside\\) runs twice"):
        rv.record(nn.Sequential(fire, nn.Identity(), fire), torch.rand(3, 2, 4), "z")
    with pytest.raises(ValueError, match="layer '1' \\(ThresholdBatchNorm2d\\) runs twice"):
        net = rv.Sequential(nn.Conv2d(2, 2, 1), norm, rv.LIF(), nn.Conv2d(2, 2, 1), norm, rv.LIF())
        rv.record(net, torch.rand(3, 2, 2, 4, 4), "z")


def test_states_of_another_network_are_refused():
    x = torch.rand(3, 2, 4)
    with pytest.raises(
        ValueError, match="state has entries for \\['7'\\], but the temporal layers of this network are \\['1'\\]"
    ):
        rv.scan(rv.Sequential(nn.Linear(4, 4), rv.LIF()), x, {"7": {}})
    with pytest.raises(TypeError, match="state must be a dictionary"):
        rv.scan(rv.LIF(), x, torch.zeros(2, 4))


def test_truncated_backpropagation():
    net = rv.Sequential(nn.Linear(3, 4), rv.LIF(), rv.LI())
    x = torch.rand(8, 2, 3)
    state = None
    for chunk in x.split(4):
        y, state = rv.scan(net, chunk, state)
        y.sum().backward()
        state = rv.detach(state)
    assert not state["1"]["v"].requires_grad


def test_stream_remembers_and_forgets():
    net = rv.Sequential(nn.Linear(3, 4), rv.LIF(), rv.LI())
    x = torch.rand(5, 2, 3)
    stream = rv.Stream(net)
    once = torch.stack([stream(x_t) for x_t in x])
    torch.testing.assert_close(once, net(x).detach())
    stream.reset()
    assert torch.equal(stream(x[0]), once[0])


def test_explain_names_the_backend_and_the_reason():
    net, x = Residual(), torch.rand(2, 2, 4)
    told = rv.explain(net, x)
    assert [r[0] for r in told.rows] == ["lif", "second"] and "numba: cpu tensors: Numba" in str(told)
    with rv.backend("reference"):
        assert "asked for by backend('reference')" in str(rv.explain(net, x))


def test_a_backend_that_cannot_serve_says_why():
    with (
        pytest.raises(ValueError, match="no backend 'tpu'; there are 'numba', 'triton', 'reference'"),
        rv.backend("tpu"),
    ):
        pass
    with (
        rv.backend("numba"),
        pytest.raises(ValueError, match="backend\\('numba'\\) runs only cpu tensors, but this one is on meta"),
    ):
        rv.LIF()(torch.empty(3, 2, 4, device="meta"))


def test_books_of_threads_do_not_mix():
    net, x = Residual(), torch.rand(20, 2, 4)
    true, wrong = net(x), []

    def work():
        for _ in range(20):
            y, state = rv.scan(net, x)
            if not torch.equal(y, true) or set(state) != {"lif", "second"}:
                wrong.append(y)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_input_that_is_constant_in_time_goes_through_plain_modules_once():
    calls = []

    class Counting(nn.Linear):
        def forward(self, x):
            calls.append(x.shape)
            return super().forward(x)

    x = torch.rand(2, 3).expand(5, 2, 3)
    plain = nn.Linear(3, 4)
    net = rv.Sequential(plain, rv.LIF())
    handle = plain.register_forward_pre_hook(lambda m, a: calls.append(a[0].shape))
    y = net(x)
    handle.remove()
    assert calls == [(2, 3)]
    torch.testing.assert_close(y, net(x.contiguous()))
    rv.Sequential(Counting(3, 4), rv.LIF())(x)  # a module of unknown kind sees every step
    assert calls[-1] == (10, 3)


def test_recurrent_is_its_loop():
    layer, x = rv.Recurrent(rv.LIF(), 4), torch.rand(6, 2, 4)
    z, state, out = torch.zeros(2, 4), None, []
    for x_t in x:
        z, state = layer.neuron.step(x_t + layer.feedback(z), state)
        out.append(z)
    torch.testing.assert_close(layer(x), torch.stack(out))
    with pytest.raises(ValueError, match="Recurrent"):
        layer(torch.rand(6, 2, 5))
    with pytest.raises(TypeError, match="must be a Neuron with one input"):
        rv.Recurrent(nn.Linear(3, 3), 3)  # type: ignore
    with pytest.raises(TypeError, match="feedback must be the number of neurons or a module"):
        rv.Recurrent(rv.LIF(), 3.5)  # type: ignore


def test_a_step_without_a_batch_axis_is_refused_with_the_next_step():
    net = rv.Sequential(nn.Linear(2, 3), rv.LIF())
    for run in (rv.Stream(net), lambda x_t: rv.step(net, x_t)):
        with pytest.raises(ValueError, match=r"\[B, \*features\], got shape \(2,\).*unsqueeze"):
            run(torch.rand(2))


def test_a_neuron_within_a_recurrent_module_is_recorded():
    net = rv.Sequential(rv.LinearRecurrent(rv.Sequential(rv.Linear(3, 4), rv.LIF()), 3, 4), rv.Linear(4, 2), rv.LI())
    x, state, membranes = torch.rand(5, 2, 3), None, []
    traces = rv.record(net, x, "v")
    assert set(traces) == {"0.module.1", "2"}
    for x_t in x:
        _, state = rv.step(net, x_t, state)
        membranes.append(state["0"]["module"]["1"]["v"])
    torch.testing.assert_close(traces["0.module.1"], torch.stack(membranes))


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_records_of_recurrent_modules_in_one_another_are_joined(steps):
    inner = rv.LinearRecurrent(rv.Sequential(rv.Linear(3, 4), rv.LIF()), 3, 4)
    net, x = rv.ElementwiseRecurrent(rv.Sequential(inner, nn.Linear(4, 3))), torch.rand(steps, 2, 3)
    traces = rv.record(net, x, "v")
    assert {path: tuple(v.shape) for path, v in traces.items()} == {"module.0.module.1": (steps, 2, 4)}
    assert tuple(rv.record(net, x, "z")[""].shape) == (steps, 2, 3)

"""What cannot be captured is refused, with the reason. The capture itself needs a GPU: tests/backends/on_a_gpu.py."""

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.nn import graphed as module


class Gpu(torch.Tensor):
    """A tensor that says it is on a GPU."""

    @property
    def device(self):
        return torch.device("cuda", 0)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def on_gpu(*shape):
    return torch.rand(*shape).as_subclass(Gpu)


@pytest.fixture
def captured(monkeypatch):
    """What torch was asked to capture, which runs as it is."""
    asked = []

    def capture(whole, given, **options):
        asked.append(whole)
        whole(*given)
        return whole

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    return asked


REFUSED = {
    "no module": (lambda: (len, on_gpu(3, 1, 2)), "must be a module, got builtin"),
    "no tensor": (lambda: (rv.LIF(), [1.0]), "must be a tensor"),
    "on the CPU": (lambda: (rv.LIF(), torch.rand(3, 1, 2)), "x is on cpu; move x and the network to a GPU"),
    "weights elsewhere": (lambda: (nn.Linear(2, 3), on_gpu(3, 1, 2)), "'weight' is on cpu and x on cuda:0"),
    "no shape yet": (lambda: (nn.LazyLinear(3), on_gpu(3, 1, 2)), "'weight' has no shape yet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_graph_can_hold_is_refused(name):
    make, said = REFUSED[name]
    with pytest.raises((TypeError, ValueError), match=said):
        rv.graphed(*make())


def test_hooks_would_not_be_called():
    net = nn.Sequential(nn.Tanh(), nn.ReLU())
    net[1].register_forward_hook(lambda *given: None)
    with pytest.raises(ValueError, match="1 has a hook"):
        rv.graphed(net, on_gpu(3, 1, 2))


def test_another_input_or_mode_is_refused_and_results_can_be_kept(captured):
    net, x = nn.Sequential(nn.Identity()), on_gpu(3, 1, 2)
    quick = rv.graphed(net, x)
    y = quick(x)
    assert torch.equal(y, x) and y.data_ptr() != x.data_ptr()
    assert captured[0] is not net and "forward" not in net.__dict__
    with pytest.raises(ValueError, match=r"captured for x \(3, 1, 2\), torch.float32, on cuda:0, got \(4, 1, 2\)"):
        quick(on_gpu(4, 1, 2))
    with pytest.raises(TypeError, match="got list"):
        quick([x])
    with pytest.raises(ValueError, match="captured in training and the network is in evaluation"):
        net.eval()
        quick(x)


def test_a_capture_that_fails_says_what_to_do(monkeypatch):
    def fail(*given, **options):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fail)
    with pytest.raises(RuntimeError, match=r"waits for a number on the host.*not permitted.*call the network directly"):
        module.graphed(nn.Identity(), on_gpu(3, 1, 2))


def test_statistics_do_not_go_on_while_it_is_captured(captured, monkeypatch):
    net = nn.BatchNorm1d(2)
    x = on_gpu(3, 2)
    for b in net.buffers():
        monkeypatch.setitem(net._buffers, next(k for k, v in net._buffers.items() if v is b), b.as_subclass(Gpu))
    for k, p in net._parameters.items():
        monkeypatch.setitem(net._parameters, k, p.detach().as_subclass(Gpu))
    before = [b.clone() for b in net.buffers()]
    rv.graphed(net, x)
    assert all(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))

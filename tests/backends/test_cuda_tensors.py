"""What stands around the GPU's kernels, on tensors without memory in the place of a GPU's: no kernel runs, but what
would leave the device, or wait for its numbers, is refused.
"""

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.backends import op, triton_backend
from ranvier.spikes import feedback


@pytest.fixture
def cuda(monkeypatch):
    """In the place of a GPU; kernels are launched and do nothing."""
    launched = []
    monkeypatch.setattr(triton_backend, "launch", lambda kernel, *given, **constants: launched.append(kernel))
    monkeypatch.setattr(triton_backend, "processors", lambda device: 132)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    monkeypatch.setattr(triton_backend.Triton, "lacks", lambda self, device: None if device == "meta" else "no")
    yield torch.device("meta")
    assert launched


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_scan_stays_on_its_device(cuda, dtype):
    rule = rv.ALIF().bound(())
    x, initial = torch.empty(9, 2, 33, device=cuda, dtype=dtype), torch.empty(2, 2, 33, device=cuda)
    params = [torch.empty((), device=cuda) for _ in rule.params]
    wanted = (True,) * (1 + len(params))
    out, marks = op._forward_marked([x], initial, params, rule.key, "triton", wanted)
    grads = [x, initial]
    found = op._gradients_marked([x], initial, params, grads, wanted, rule.key, "triton", (marks,))
    assert [t.device.type for t in (*out, *found)] == ["meta"] * (2 + 2 + len(params))
    assert out[0].dtype == found[0].dtype == dtype


@pytest.mark.parametrize("detached", [False, True])
def test_a_recurrent_layer_stays_on_its_device(cuda, detached):
    rule = rv.ALIF().bound(())
    x, z, initial = (torch.empty(s, device=cuda) for s in ((9, 4, 33), (4, 33), (2, 4, 33)))
    params, weight = [torch.empty((), device=cuda) for _ in rule.params], torch.empty(33, 33, device=cuda)
    y, final, marks, u, _ = feedback._forward(x, z, initial, params, weight, None, rule.key, "triton", detached)
    wanted = [True] * len(params)
    found = feedback._gradients(u, y, z, marks, params, weight, [x, final], wanted, rule.key, "triton", detached)
    assert {t.device.type for t in found} == {"meta"} and found[3].shape == weight.shape


def test_a_network_stays_on_its_device(cuda):
    """Linear layers and convolutions are torch's there, for torch.compile to fuse."""
    net = rv.Sequential(
        rv.Conv2d(2, 4, 3), nn.BatchNorm2d(4), rv.LIF(), nn.MaxPool2d(2), nn.Flatten(), rv.Linear(36, 20),
        rv.Recurrent(rv.LIF(), 20), rv.Linear(20, 5), rv.LI(),
    ).to(cuda)  # fmt: skip
    x = torch.empty(6, 3, 2, 8, 8, device=cuda)
    y = net(x)
    assert y.device.type == "meta" and y.shape == (6, 3, 5)
    assert all(g.device.type == "meta" for g in torch.autograd.grad(y.sum(), list(net.parameters())))

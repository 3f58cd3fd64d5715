"""A single picture with channels last in memory has its right gradient, at any stride over samples."""

import pytest
import torch
from torch import nn

from ranvier.compat.norse.torch import Lift
from ranvier.compat.spikingjelly.activation_based import layer

MAKERS = {
    "norse Lift": lambda: Lift(nn.BatchNorm2d(3)),
    "spikingjelly BatchNorm2d": lambda: layer.BatchNorm2d(3, step_mode="m"),
    "spikingjelly SeqToANNContainer": lambda: layer.SeqToANNContainer(nn.BatchNorm2d(3)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_single_picture(make):
    torch.manual_seed(0)
    net, x, weight = make(), torch.rand(1, 1, 3, 5, 4), torch.rand(1, 1, 3, 5, 4)
    last = x.movedim(2, -1).contiguous().movedim(-1, 2).as_strided(x.shape, (60, 3, 1, 12, 3))
    found = []
    for given in (x, last):
        leaf = given.detach().requires_grad_()
        found.append(torch.autograd.grad((net(leaf) * weight).sum(), [leaf, *net.parameters()]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)

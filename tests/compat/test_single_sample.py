"""A single picture has its right gradient, whatever the strides of the picture or of the gradient that comes back."""

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
    odd = lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2).as_strided(x.shape, (60, 3, 1, 12, 3))  # noqa: E731
    wanted, *found = [], *([] for _ in range(2))
    for gradients, given, change in zip((wanted, *found), (x, odd(x), x), (None, None, odd), strict=True):
        leaf = given.detach().requires_grad_()
        y = net(leaf)
        if change:
            y.register_hook(change)
        gradients += torch.autograd.grad((y * weight).sum(), [leaf, *net.parameters()])
    for each in found:
        for a, b in zip(each, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_pictures_of_width_one(make):
    torch.manual_seed(0)
    net, x, weight = make(), torch.rand(1, 2, 3, 4, 1), torch.rand(1, 2, 3, 4, 1)
    odd = x.movedim(2, -1).contiguous().movedim(-1, 2).as_strided(x.shape, (24, 12, 1, 3, 7))
    found = []
    for given in (x, odd):
        leaf = given.detach().requires_grad_()
        found.append(torch.autograd.grad((net(leaf) * weight).sum(), [leaf, *net.parameters()]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)

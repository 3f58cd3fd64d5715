import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from ranvier.backends import linear


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(), (3,), (6, 2, 3)])
def test_gradients(shape, dtype):
    torch.manual_seed(0)
    decay, x, initial = (torch.randn(s, dtype=dtype, requires_grad=True) for s in (shape, (6, 2, 3), (2, 3)))
    assert gradcheck(linear.scan, (decay, x, initial))
    assert gradgradcheck(linear.scan, (decay, x, initial))


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 64, 1000])
def test_values(steps):
    decay, x, v = torch.rand(5, dtype=torch.float64), torch.randn(steps, 2, 5, dtype=torch.float64), torch.randn(2, 5)
    got = linear.scan(decay, x, v.double())
    v = v.double()
    for t in range(steps):
        v = decay * v + x[t]
        torch.testing.assert_close(got[t], v)
    assert got.shape == x.shape

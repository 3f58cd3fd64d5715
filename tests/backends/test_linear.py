import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import ranvier as rv
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


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=str)
@pytest.mark.parametrize("shape", [(), (3, 11), (150, 3, 11)], ids=["one number", "each", "changing"])
def test_the_kernel_for_gpus_does_what_doubling_does(shape, dtype):
    """More than one chunk of time, a block that is not full; backwards, too."""
    torch.manual_seed(0)
    decay, x, initial = (torch.rand(s, dtype=dtype) for s in (shape, (150, 3, 11), (3, 11)))
    found = []
    for backend in ("reference", "triton"):
        leaves = [t.clone().requires_grad_() for t in (decay * 0.7, x, initial)]
        with rv.backend(backend):
            v = linear.scan(*leaves)
            found.append([v, *torch.autograd.grad(v, leaves, x.flip(0))])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)

"""Spikes as bits by the kernels of a GPU, in Triton's interpreter, beside those of the CPU."""

import pytest
import torch

from ranvier.spikes import bits, bits_gpu


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("columns", [1, 7, 33, 64, 257, 513])
@pytest.mark.parametrize("rows", [1, 9])
def test_the_same_bits_there_and_back(rows, columns):
    x = (torch.rand(rows, columns) < 0.3).float()
    packed = bits_gpu.pack(x)
    assert torch.equal(packed, bits.pack(x))
    for dtype in (torch.float32, torch.float16, torch.float64):
        assert torch.equal(bits_gpu.unpack(packed, columns, dtype), x.to(dtype))


def test_the_gradient_of_a_weight_comes_some_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(bits_gpu, "UNPACKED", 100)
    x, g = (torch.rand(31, 33) < 0.3).double(), torch.rand(31, 5, dtype=torch.float64)
    torch.testing.assert_close(bits_gpu.gradient(bits_gpu.pack(x), g, 33), g.t() @ x)


def test_nothing_is_nothing():
    assert bits_gpu.pack(torch.zeros(0, 7)).shape == (0, 1)

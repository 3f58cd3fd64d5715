import pytest
import torch
from torch.nn import functional

import ranvier as rv
from ranvier.nn.pool import sum_pool


@pytest.mark.parametrize(("window", "stride"), [((2, 2), (2, 2)), ((3, 2), (1, 2)), ((1, 3), (2, 1))])
def test_valid_is_an_average_times_its_size(window, stride):
    x = torch.rand(3, 2, 7, 8)
    wanted = functional.avg_pool2d(x, window, stride) * (window[0] * window[1])
    torch.testing.assert_close(sum_pool(x, window, stride), wanted)


@pytest.mark.parametrize("size", [1, 4, 5, 7])
@pytest.mark.parametrize(("window", "stride"), [(1, 1), (3, 2), (2, 3), (4, 1)])
def test_same_gives_size_over_stride(size, window, stride):
    y = sum_pool(torch.ones(2, size), (window,), (stride,), "SAME")
    assert y.shape == (2, -(-size // stride))
    if stride == 1:
        assert y.max() <= window


def test_in_a_net_and_refusals():
    assert rv.Sequential(rv.SumPool(2), rv.LIF())(torch.rand(4, 2, 3, 6, 6)).shape == (4, 2, 3, 3, 3)
    assert rv.SumPool(3, axes=1)(torch.rand(4, 2, 9)).shape == (4, 2, 3)
    for make in (lambda: rv.SumPool(0), lambda: rv.SumPool((2, 2), (1,)), lambda: rv.SumPool(2, padding="FULL")):
        with pytest.raises(ValueError):
            make()
    with pytest.raises(ValueError, match="does not fit"):
        rv.SumPool(9)(torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match="multiple"):
        rv.PopulationReadout(4)(torch.rand(2, 6))
    with pytest.raises(ValueError):
        rv.PopulationReadout(0)


def test_an_odd_zero_is_put_behind():
    assert sum_pool(torch.tensor([1.0, 2.0, 4.0]), (2,), (1,), "SAME").tolist() == [3.0, 6.0, 4.0]
    assert sum_pool(torch.tensor([1.0, 2.0, 4.0]), (4,), (1,), "SAME").tolist() == [7.0, 7.0, 6.0]

"""Which of the values a rectifier gave becomes its threshold."""

import pytest
import torch
from torch import nn

from ranvier.convert import convert


def threshold(values, **settings):
    """The threshold of one rectifier that gave these values [N, C]."""
    model = nn.Sequential(nn.ReLU(), nn.Flatten())
    (found,) = [v for k, v in convert(model, values, **settings).state_dict().items() if k.endswith("threshold")]
    return found


@pytest.mark.parametrize(("percentile", "wanted"), [(100, 10.0), (90, 9.0), (85, 9.0), (81, 9.0), (80, 8.0), (1, 1.0)])
def test_the_percentile_is_the_lowest_value_that_so_many_reach_at_most(percentile, wanted):
    values = torch.arange(1.0, 11.0).flip(0).reshape(10, 1)
    assert threshold(values, percentile=percentile).item() == wanted


def test_max_is_the_highest_and_channels_are_apart():
    values = torch.stack([torch.arange(1.0, 11.0), 10 * torch.arange(1.0, 11.0)], 1)
    assert threshold(values, balance="max", percentile=50).tolist() == [10.0, 100.0]
    assert threshold(values, percentile=50).tolist() == [5.0, 50.0]
    assert threshold(values, percentile=50, per_channel=False).item() == 10.0


def test_a_channel_that_hardly_speaks_keeps_its_maximum():
    values = torch.zeros(100, 1)
    values[3] = 2.0
    assert threshold(values, percentile=90).item() == 2.0

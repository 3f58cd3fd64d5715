import numpy as np
import pytest
import torch

from ranvier import data
from ranvier.data import ENCODINGS, constant, latency, rate


def test_constant_is_a_view_of_the_input():
    x = torch.rand(3, 2, 4)
    y = constant(x, 5)
    assert y.shape == (5, 3, 2, 4) and y.stride(0) == 0 and y.data_ptr() == x.data_ptr()


def test_rate_fires_in_proportion_and_repeats_with_its_generator():
    x = torch.tensor([[0.0, 0.25, 0.5, 1.0]]).expand(200, 4)
    first = rate(x, 100, max_rate=0.8, generator=torch.Generator().manual_seed(3))
    again = rate(x, 100, max_rate=0.8, generator=torch.Generator().manual_seed(3))
    assert first.shape == (100, 200, 4) and first.dtype == torch.float32
    assert torch.equal(first, again)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(first.mean((0, 1)), torch.tensor([0.0, 0.2, 0.4, 0.8]), atol=0.02, rtol=0)


def test_rate_is_exact_at_its_ends():
    assert rate(torch.zeros(4, 5), 50).sum() == 0
    assert rate(torch.ones(4, 5, dtype=torch.float64), 50).mean() == 1


def test_latency_fires_once_the_brighter_the_sooner():
    z = latency(torch.tensor([[1.0, 0.75, 0.5, 0.02, 0.01, 0.0]]), 5)
    assert z.shape == (5, 1, 6)
    assert z.sum(0).tolist() == [[1, 1, 1, 1, 0, 0]]
    assert z.argmax(0)[0, :4].tolist() == [0, 1, 2, 4]


def test_latency_rounds_halves_to_even():
    assert latency(torch.tensor([0.5]), 4).argmax(0).item() == 2  # 1.5 -> 2
    assert latency(torch.tensor([0.5]), 2).argmax(0).item() == 0  # 0.5 -> 0


def test_one_step_is_enough():
    for name, encode in ENCODINGS.items():
        assert encode(torch.full((2, 3), 0.5), 1).shape == (1, 2, 3), name


@pytest.mark.parametrize("encode", [rate, latency])
@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), float("inf")])
def test_values_outside_zero_to_one_are_refused(encode, bad):
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\]"):
        encode(torch.tensor([[0.5, bad]]), 3)


def test_other_bad_input_is_refused():
    x = torch.rand(2, 3)
    with pytest.raises(TypeError, match="floating-point"):
        rate(torch.ones(2, dtype=torch.int64), 3)
    with pytest.raises(ValueError, match="steps"):
        latency(x, 0)
    with pytest.raises(ValueError, match="max_rate"):
        rate(x, 3, max_rate=1.5)


def test_torch_s_default_dtype_changes_no_spike():
    x, z = torch.rand(6, 4, 3), (torch.rand(20, 4, 3) < 0.3).float()
    calls = (
        lambda g: data.drop_events(z, 0.3, g),
        lambda g: data.jitter_time(z, 2.0, g),
        lambda g: data.level_crossing(x, torch.tensor([0.3, 0.6])),
        lambda g: data.sparse_frames(np.array([0.1]), np.array([1]), 2, 2, 0.2).to_dense(),
    )
    for call in calls:
        wanted = call(torch.Generator().manual_seed(0))
        torch.set_default_dtype(torch.float64)
        try:
            found = call(torch.Generator().manual_seed(0))
        finally:
            torch.set_default_dtype(torch.float32)
        assert found.dtype == torch.float32 and torch.equal(found, wanted)

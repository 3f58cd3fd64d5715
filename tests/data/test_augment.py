import numpy as np
import pytest
import torch

from ranvier.data import Packed, augment, drop_events, encode, jitter_time, shift, shuffler
from ranvier.data.packed import pack, unpack


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_shift_rolls_all_together_or_each_by_itself():
    x = torch.rand(50, 2, 9, 9)
    before = x.clone()
    rolled = shift(x, 3, (-1, -2), seeded(), wrap=True)
    torch.testing.assert_close(rolled.sum((1, 2, 3)), x.sum((1, 2, 3)))
    by = next((a, b) for a in range(-3, 4) for b in range(-3, 4) if torch.equal(x.roll((a, b), (-1, -2)), rolled))
    assert all(abs(k) <= 3 for k in by)
    each = shift(x, 3, (-1,), seeded(), sample_axis=0, wrap=True)
    moves = [next(k for k in range(-3, 4) if torch.equal(a.roll(k, -1), b)) for a, b in zip(x, each, strict=True)]
    assert set(moves) == set(range(-3, 4))
    assert torch.equal(x, before)


def test_shift_fills_with_zeros():
    x = torch.ones(40, 6)
    y = shift(x, 2, (1,), seeded(), sample_axis=0)
    gone = (y == 0).sum(1)
    assert set(gone.tolist()) == {0, 1, 2} and bool(((y[:, 0] == 0) | (y[:, -1] == 0) | (gone == 0)).all())
    with pytest.raises(ValueError, match="sample axis"):
        shift(x, 2, (0,), sample_axis=0)
    with pytest.raises(ValueError):
        shift(x, -1)


def test_jitter_and_drop():
    z = torch.zeros(100, 8, 10)
    z[50] = 1.0
    moved = jitter_time(z, 3.0, seeded())
    times = moved.nonzero()[:, 0].float()
    assert moved.sum() == 80 and abs(times.mean() - 50) < 1.5 and 2 < times.std() < 4
    assert torch.equal(jitter_time(z, 0.0), z)
    assert 0.2 < drop_events(torch.ones(5000), 0.7, seeded()).mean() < 0.4
    for wrong in (lambda: jitter_time(z, -1.0), lambda: drop_events(z, 1.5)):
        with pytest.raises(ValueError):
            wrong()
    assert augment.shift is shift


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 40])
def test_packed_bits_are_numpys_and_come_back(steps):
    z = (torch.rand(6, steps, 3, generator=seeded()) < 0.4).float()
    assert np.array_equal(pack(z, 1).numpy(), np.packbits(z.numpy().astype(np.uint8), axis=1))
    assert torch.equal(unpack(pack(z, 1), steps, 1), z)
    labels = torch.arange(6)
    packed = Packed(z, labels)
    x, y = packed[torch.tensor([4, 1])]
    assert torch.equal(x, z[[4, 1]].transpose(0, 1)) and y.tolist() == [4, 1] and len(packed) == 6
    assert torch.equal(packed[2:4][0], z[2:4].transpose(0, 1))
    with pytest.raises(ValueError, match="bytes"):
        unpack(pack(z, 1), steps + 8, 1)


def test_shuffler_keeps_pairs_and_drops_the_rest():
    x = torch.arange(11.0).view(11, 1)
    a, labels = shuffler(3)(x, torch.arange(11), seeded())
    assert a.shape == (3, 3, 1) and torch.equal(a.squeeze(-1).long(), labels) and len(labels.unique()) == 9
    with pytest.raises(ValueError):
        shuffler(12)(x, torch.arange(11))
    with pytest.raises(ValueError):
        shuffler(0)


def test_codes_of_place_and_phase():
    x = torch.rand(5, 2, generator=seeded())
    y = encode.population(x, 11, 0.0, 1.0)
    assert y.shape == (5, 2, 11) and torch.equal(y.argmax(-1), (x * 10).round().long())
    theta = torch.linspace(-3.1, 3.1, 50)
    there = encode.phase_of(encode.phase(theta, 64))
    assert (there - theta).abs().max() <= 2 * torch.pi / 64
    for wrong in (lambda: encode.angle(x, 1, 0.0, 1.0), lambda: encode.population(x, 4, 1.0, 0.0)):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(ValueError, match="threshold"):
        encode.delta(torch.rand(3, 1, 1), 0.0)

"""What holds for every data set, also those added later; a set whose files are not here is passed over."""

import pytest
import torch

from ranvier import data

# xor has four points; five recordings of plaid stand in both published files.
SHARED = {"xor": 4, "plaid": 5}


@pytest.mark.parametrize("name", data.SETS)
def test_every_set(name):
    try:
        parts = data.load(name)
    except FileNotFoundError as missing:
        assert name in str(missing) or "package" in str(missing) or "install" in str(missing)
        pytest.skip(f"{name} is not installed")
    assert parts._fields == ("train", "validation", "test")
    for part in parts:
        assert part.x.dtype == torch.float32 and not part.x.isinf().any() and len(part.x) == len(part.labels) > 0
        behind = part.x.isnan()  # [samples, T, features]: the steps behind the end of a shorter recording
        if behind.any():
            assert torch.equal(behind.any(-1), behind.all(-1)) and not behind[:, 0].any()
            assert not (behind[:, :-1] & ~behind[:, 1:]).any()
        assert part.labels.dtype == torch.int64 and part.labels.min() >= 0
    assert len(parts.train.labels) >= len(parts.validation.labels)
    classes = [part.labels.unique().tolist() for part in parts]
    assert classes[0] == classes[1] == classes[2] == list(range(len(classes[0])))
    rows = [{v.numpy().tobytes() for v in part.x} for part in parts]
    shared = len(rows[0] & rows[1] | rows[0] & rows[2] | rows[1] & rows[2])
    assert shared == SHARED.get(name, 0), "samples that stand in two parts"
    again = data.load(name)
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(parts, again, strict=True))

"""What holds for every data set, also those added later; a set whose files are not here is passed over."""

import pytest
import torch

from ranvier import data


@pytest.mark.parametrize("name", data.SETS)
def test_every_set(name):
    try:
        parts = data.load(name)
    except FileNotFoundError as missing:
        assert name in str(missing) or "package" in str(missing) or "install" in str(missing)
        pytest.skip(f"{name} is not installed")
    assert parts._fields == ("train", "validation", "test")
    for part in parts:
        x = part.x if isinstance(part.x, torch.Tensor) else torch.cat([v.flatten() for v in part.x])
        assert x.dtype == torch.float32 and x.isfinite().all() and len(part.x) == len(part.labels) > 0
        assert part.labels.dtype == torch.int64 and part.labels.min() >= 0
    assert len(parts.train.labels) >= len(parts.validation.labels)
    classes = [part.labels.unique().tolist() for part in parts]
    assert classes[0] == classes[1] == classes[2] == list(range(len(classes[0])))
    if name != "xor":  # which has four points
        rows = [{v.numpy().tobytes() for v in part.x} for part in parts]
        assert not (rows[0] & rows[1] or rows[0] & rows[2] or rows[1] & rows[2]), "a sample stands in two parts"
    again = data.load(name)
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(parts, again, strict=True))

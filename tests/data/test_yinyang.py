"""Against the published recipe's own output (tests/golden/yinyang.json)."""

import json
from pathlib import Path

import pytest
import torch

from ranvier.data import yinyang
from ranvier.data.yinyang import _label

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "yinyang.json").read_text())


@pytest.mark.parametrize(("seed", "size"), [(42, 5000), (41, 1000), (40, 1000)])
def test_same_points_as_published(seed, size):
    golden = GOLDEN[f"seed{seed}_size{size}"]
    points = yinyang(size, seed=seed, dtype=torch.float64)
    assert torch.equal(points.x[:10], torch.tensor(golden["first10"], dtype=torch.float64))
    assert torch.equal(points.x[-1], torch.tensor(golden["last"], dtype=torch.float64))
    assert points.labels[:30].tolist() == golden["first30_classes"]
    assert points.labels.bincount().tolist() == golden["class_counts"]


def test_label_at_known_places():
    for x, y, label, *_ in GOLDEN["which_class"]:
        assert _label(x, y, 0.1, 0.5) == label


def test_bad_radii_and_size_are_refused():
    with pytest.raises(ValueError, match="r_small"):
        yinyang(10, r_small=0.25, r_big=0.5)
    with pytest.raises(ValueError, match="size"):
        yinyang(0)

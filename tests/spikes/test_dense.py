"""Dense products: every way computes the same, the choice is measured, kept, and can be pinned."""

import json

import pytest
import torch

import ranvier as rv
from ranvier.spikes import dense, measured


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(measured, "_found", {})
    monkeypatch.setattr(dense, "_pinned", None)
    monkeypatch.setattr(measured, "folder", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", dense.WAYS)
@pytest.mark.parametrize("layout", dense.LAYOUTS)
@pytest.mark.parametrize("size", [(1, 1, 1), (7, 33, 5), (300, 129, 65), (200, 77, 3), (70, 5, 200), (3, 900, 80)])
def test_every_way_is_the_product(name, layout, size, monkeypatch):
    monkeypatch.setattr(dense, "WORTH", 0)
    torch.manual_seed(0)
    a, w = dense.LAYOUTS[layout](*size)
    a, w = torch.empty_like(a).normal_(), torch.empty_like(w).normal_()
    for bias in (None, torch.randn(size[2])):
        out = torch.full((size[0], size[2]), torch.nan)
        with rv.products(name):
            dense.multiply(a, w, bias, out)
        true = a.double() @ w.double().t() + (0 if bias is None else bias)
        torch.testing.assert_close(out.double(), true, rtol=1e-5, atol=1e-4)


def test_it_is_measured_once_and_kept(fresh, monkeypatch):
    found = {kind: dense.way(kind) for kind in dense.KINDS}
    (file,) = fresh.glob("products_*.json")
    assert json.loads(file.read_text())["found"] == found
    monkeypatch.setattr(measured, "_found", {})
    monkeypatch.setattr(dense, "_measure", None)
    assert {kind: dense.way(kind) for kind in dense.KINDS} == found


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"found": {"forward": "no such"}}', '{"found": 3}'])
def test_a_wrong_file_costs_nothing_but_time(fresh, text, monkeypatch):
    dense.way("forward")
    (file,) = fresh.glob("products_*.json")
    file.write_text(text)
    monkeypatch.setattr(measured, "_found", {})
    assert dense.way("forward") in dense.WAYS
    assert json.loads(file.read_text())["found"]["forward"] in dense.WAYS


def test_a_torch_without_the_operator(fresh, monkeypatch):
    def absent(*_):
        raise AttributeError("no such operator")

    monkeypatch.setitem(dense.WAYS, "onednn", absent)
    assert {dense.way(kind) for kind in dense.KINDS} == {"torch"}


def test_pinned_to_torch_the_bits_are_torch_s():
    layer, x = rv.Linear(300, 200), torch.rand(128, 300)
    with rv.products("torch"):
        assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    with pytest.raises(ValueError, match="'torch', 'onednn', and None"), rv.products("fast"):
        pass

"""NIR files in both directions with the libraries themselves, each in its own environment below .peers/NAME."""

from pathlib import Path

import nir_cells
import pytest

pytest.importorskip("nir")
CHECKS = [
    pytest.param(check, id="-".join((*cell, str(k))))
    for cell, (_, checks) in nir_cells.CELLS.items()
    for k, check in enumerate(checks)
]


@pytest.mark.peer
@pytest.mark.parametrize("check", CHECKS)
def test_a_file_gives_the_same_spikes_on_both_sides(check, tmp_path):
    """Or the difference is shown to be the other library's."""
    check(tmp_path / "net.nir")


@pytest.mark.parametrize("verb", ["reads", "writes"])
def test_the_docs_say_what_was_seen(verb):
    docs = (Path(__file__).parents[2] / "docs" / "exchange.md").read_text(encoding="utf-8")
    assert nir_cells.table(verb) in docs

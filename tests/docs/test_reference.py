"""The reference holds every public name, and the pages tell of every name of the top level."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

import ranvier

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))
reference, glance = importlib.import_module("reference"), importlib.import_module("at_a_glance")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    reference.write(folder)
    return {path.stem: path.read_text() for path in folder.glob("*.md")}


@pytest.mark.parametrize("room, module", [("ranvier", ranvier), *((n, m) for n, _, m in reference.rooms())])
def test_every_public_name_stands_in_the_reference(pages, room, module):
    text = "\n".join(pages.values())
    missing = [n for n in reference.public(module) if not re.search(rf"\}} {re.escape(room)}\.{n}(\(|\n)", text)]
    assert reference.public(module) and not missing


def test_names_that_are_imported_later_are_public_too():
    assert {"run", "Result", "measures"} <= set(reference.public(ranvier.train))


def test_arguments_of_every_neuron_are_listed(pages):
    neurons = [v for v in reference.public(ranvier).values() if "\nArguments:\n" in (inspect.getdoc(v) or "")]
    assert len(neurons) >= 30
    assert "".join(pages.values()).count("*Arguments*") >= len(neurons)


def test_a_docstring_becomes_markdown():
    said = reference.markdown("x [T, B, *N] < 1.\n\n>>> f(1)\n2\n\nArguments:\n    a = 1: what it is.\n")
    assert said == (
        "x \\[T, B, \\*N\\] \\< 1.\n\n\n```pycon\n>>> f(1)\n2\n```\n\n\n*Arguments*\n\n* `a = 1`: what it is."
    )


def test_every_name_of_the_top_level_stands_on_a_page():
    made = {"reference", "_build"}
    pages = [p for p in DOCS.rglob("*") if p.suffix in (".md", ".ipynb") and not made & set(p.relative_to(DOCS).parts)]
    text = "\n".join([glance.page(), *(p.read_text() for p in pages)])
    missing = [n for n in reference.public(ranvier) if not re.search(rf"\b{n}\b", text)]
    assert not missing


def test_the_page_at_a_glance_has_every_neuron_and_its_picture():
    assert set(glance.NEURONS) == set(ranvier.nn.neurons.__all__), "add the neuron to the table in docs/at_a_glance.py"
    drawn = {p.stem for p in (DOCS / "glance").glob("*.svg")}
    assert drawn == set(glance.NEURONS), "run python docs/at_a_glance.py"
    assert all(glance.equation(getattr(ranvier, n)) for n in glance.NEURONS)

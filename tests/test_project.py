"""Files beside the code say what the code says: one version, one licence, the same requirements."""

import re
import tomllib
from pathlib import Path

import ranvier

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


def test_one_version_everywhere():
    assert PROJECT["version"] == ranvier.__version__
    assert f"version: {ranvier.__version__}\n" in (REPO / "CITATION.cff").read_text()
    assert f'{{% set version = "{ranvier.__version__}" %}}' in (REPO / "conda/meta.yaml").read_text()
    assert f"## {ranvier.__version__}" in (REPO / "CHANGELOG.md").read_text()


def test_conda_requires_what_pip_requires():
    recipe = (REPO / "conda/meta.yaml").read_text()
    run = set(re.findall(r"- (\S+)", recipe.split("  run:")[1].split("\ntest:")[0]))
    pip = {re.split(r"[>=<]", r)[0].replace("torch", "pytorch") for r in PROJECT["dependencies"]}
    assert pip | {"python"} == run


def test_every_extra_of_the_docs_is_pinned():
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (REPO / "constraints.txt").read_text().splitlines()
    }
    extras = PROJECT["optional-dependencies"]
    wanted = {r.lower() for name in ("docs", "gymnasium") for r in extras[name] if not r.startswith("ranvier")}
    assert wanted <= pinned


def test_links_of_the_readme_lead_somewhere():
    text = (REPO / "README.md").read_text()
    inside = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert inside and not [link for link in inside if not (REPO / link).exists()]

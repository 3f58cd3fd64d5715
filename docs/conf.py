"""Settings of Sphinx. `make docs` builds the site; then open docs/_build/html/index.html."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import at_a_glance  # noqa: E402  (this module and the next are in the same folder)
import reference  # noqa: E402

import ranvier  # noqa: E402

project, author, copyright = "Ranvier", "The Ranvier developers", "2026, the Ranvier developers"
version = release = ranvier.__version__
language = "en"

extensions = ["myst_nb", "sphinx_copybutton", "sphinx_design"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are stored with their outputs; `make notebooks` and the tests run them again
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"Ranvier {version}"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0a5f9e", "color-brand-content": "#0a5f9e"},
    "dark_css_variables": {"color-brand-primary": "#6cb8f0", "color-brand-content": "#6cb8f0"},
}
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text, copybutton_prompt_is_regexp = r">>> |\.\.\. |\$ ", True
maximum_signature_line_length = 80
toc_object_entries = False


def place_the_rest(app, name: str, source: list[str]) -> None:
    """Add pages that are in no index to the end of the how-to pages."""
    if name == "how-to/index":
        indexes = "".join(p.read_text() for p in (HERE / "index.md", HERE / "how-to" / "index.md"))
        named = {line.strip().removeprefix("../") for line in indexes.splitlines()} | {"index"}
        rest = sorted(p.stem for p in HERE.glob("*.md") if p.stem not in named)
        source[0] = source[0].rstrip().removesuffix("```") + "".join(f"../{page}\n" for page in rest) + "```\n"


def setup(app) -> None:
    app.connect("source-read", place_the_rest)
    reference.write(HERE / "reference")
    at_a_glance.write(HERE / "at-a-glance.md")

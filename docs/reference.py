"""Writes the pages of the reference from the docstrings: one page per public module, with all of its public names.

`make docs` runs it; the pages are in docs/reference/ and are not stored in git.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import ranvier

# The public modules besides the top level: name, content.
ROOMS = {
    "ranvier.ops": "the functions that a rule may call",
    "ranvier.surrogate": "surrogate derivatives of the spike",
    "ranvier.init": "initial weights",
    "ranvier.models": "ready-made networks",
    "ranvier.train": "training: the function `run` and its parts",
    "ranvier.loss": "losses on traces over time",
    "ranvier.metric": "accuracy of a readout",
    "ranvier.train.regularise": "penalties on firing rates",
    "ranvier.train.energy": "an estimate of the energy on a chip",
    "ranvier.data": "encoders, recordings and data sets",
    "ranvier.convert": "rates to spikes, trained networks to spiking ones",
    "ranvier.convert.nir": "the exchange format NIR",
    "ranvier.export": "a trained network for other machines",
    "ranvier.hardware": "limits of chips: weights, noise, a chip in the loop",
    "ranvier.plasticity": "learning without backward",
    "ranvier.plot": "pictures",
    "ranvier.online": "learning forward in time, while a net runs",
    "ranvier.doctor": "reasons why a network does not learn",
    "ranvier.recipes": "the training runs of `ranvier train`",
    "ranvier.compat": "names of other libraries; each library has a page under *Coming from*",
}

# The groups of the top level and their modules; the last group contains all names that are in no other.
GROUPS = {
    "Neurons": "ranvier.nn.neurons",
    "Layers": "ranvier.nn.layers",
    "Verbs": "ranvier.verbs",
    "Tools": "ranvier.tools",
    "Your own neuron, and the rest": "ranvier",
}


def public(module: ModuleType) -> dict[str, Any]:
    """Return the public names of a module, in their order: those of `__all__`, or all that Ranvier defines in it."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [n for n, v in vars(module).items() if not n.startswith("_") and written_in(v).startswith("ranvier")]
        if module is not ranvier:  # what a file only imports belongs to another page
            names = [n for n in names if written_in(getattr(module, n)).startswith(module.__name__)]
    names = [*names, *getattr(module, "LATER", ())]  # imported when they are first used
    return {n: getattr(module, n) for n in names if not n.startswith("_") and not inspect.ismodule(getattr(module, n))}


def written_in(value: Any) -> str:
    return getattr(value, "__module__", None) or "" if not inspect.ismodule(value) else ""


def rooms() -> Iterator[tuple[str, str, ModuleType]]:
    for name, what in ROOMS.items():
        try:
            yield name, what, importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(error.name or "?"):
                raise
            parent, _, last = name.rpartition(".")
            if (module := getattr(importlib.import_module(parent), last, None)) is not None:  # ranvier.loss
                yield name, what, module


def grouped() -> dict[str, dict[str, Any]]:
    """Return the names of the top level by group: {group: {name: value}}."""
    left, found = public(ranvier), {}
    for group, module in GROUPS.items():
        names = sorted(set(left) & set(public(importlib.import_module(module))), key=str.lower)
        found[group] = {n: left.pop(n) for n in names}
    return found


def write(folder: Path) -> None:
    """Write all pages to `folder`."""
    folder.mkdir(exist_ok=True)
    pages: dict[str, str] = {}
    for group, names in grouped().items():
        module = importlib.import_module(GROUPS[group])
        pages[file_of(group)] = page(group, "" if module is ranvier else module.__doc__ or "", "ranvier", names)
    index = ["# Reference", "", "Every public name with its documentation.", "", "## `ranvier`", ""]
    index += [f"* [{g}]({file_of(g)}.md): {listed(n)}" for g, n in grouped().items()]
    index += ["", "## Modules", ""]
    for name, what, module in rooms():
        pages[name] = page(f"`{name}`", what[0].upper() + what[1:] + ".", name, public(module))
        index.append(f"* [`{name}`]({name}.md): {what}. {listed(public(module))}")
    index += ["", "```{toctree}", ":hidden:", "", *pages, "```", ""]
    pages["index"] = "\n".join(index)
    for stale in folder.glob("*.md"):
        if stale.stem not in pages:
            stale.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def file_of(group: str) -> str:
    return group.partition(",")[0].lower().replace(" ", "-")


def listed(names: dict[str, Any]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def page(title: str, what: str, module: str, names: dict[str, Any]) -> str:
    return "\n".join([f"# {title}", "", what, "", *(entry(f"{module}.{n}", v) for n, v in names.items())])


def entry(path: str, value: Any) -> str:
    """Return the text of one name: its signature, its docstring, and the methods that it defines itself."""
    kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
    lines = [directive(kind, path, value, markdown(described(value, kind)))]
    if kind == "class":
        for name, method in own_methods(value):
            kind = "property" if isinstance(method, property) else "method"
            lines.append(directive(kind, f"{path}.{name}", method, markdown(inspect.getdoc(method) or "")))
    return "\n".join(lines)


def described(value: Any, kind: str) -> str:
    if kind == "data" and not isinstance(value, type) and value.__doc__ == type(value).__doc__:
        return f"{type(value).__name__}: `{value!r}`" if len(repr(value)) < 200 else type(value).__name__
    return inspect.getdoc(value) or ""


def own_methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods with a docstring that a class itself defines."""
    for name, method in vars(kind).items():
        method = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
        documented = inspect.isfunction(method) or isinstance(method, property)
        if documented and not name.startswith("_") and name not in ("rule", "forward") and method.__doc__:
            yield name, method


def directive(kind: str, path: str, value: Any, body: str) -> str:
    given = "" if kind in ("data", "property") else signature(value, path, method=kind == "method")
    return f"````{{py:{kind}}} {path}{given}\n\n{body}\n````\n"


def signature(value: Callable[..., Any], path: str, method: bool = False) -> str:
    """Return names and defaults of the arguments; docstrings describe their types."""
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return "(...)"
    if method and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    plain = [
        p.replace(annotation=p.empty, default=p.default if p.default is p.empty else Shown(p.default))
        for p in parameters
    ]
    return str(inspect.Signature(plain))


class Shown:
    """A default value as it is printed in a signature."""

    def __init__(self, value: Any) -> None:
        text = repr(value)
        self.text = text if re.fullmatch(r"[\w.\-+'\"(), \[\]]*", text) and len(text) < 60 else "..."

    def __repr__(self) -> str:
        return self.text


def markdown(docstring: str) -> str:
    """Return a docstring as Markdown: examples become fenced blocks, lists of arguments become lists."""
    out: list[str] = []
    lines = iter([*docstring.splitlines(), ""])
    for line in lines:
        if line.startswith(">>>"):
            out += ["", "```pycon"]
            while line:
                out.append(line)
                line = next(lines, "")
            out += ["```", ""]
        elif re.fullmatch(r"[A-Z][\w ]*:", line):
            out += ["", f"*{line[:-1]}*", ""]
            while line := next(lines, ""):
                name, colon, text = line.strip().partition(": ")
                deeper = line.startswith(" " * 6)
                out.append(f"  {escaped(line.strip())}" if deeper or not colon else f"* `{name}`: {escaped(text)}")
            out.append("")
        else:
            out.append(line if line.startswith("    ") else escaped(line))
    return "\n".join(out).strip()


def escaped(line: str) -> str:
    """Return the line with the special characters of Markdown escaped, except inside code."""
    parts = re.split(r"(``[^`]*``|`[^`]*`|\*[A-Za-z][\w -]*\*)", line)
    plain = [p if k % 2 else re.sub(r"([*<\[\]$|{}_~])", r"\\\1", p) for k, p in enumerate(parts)]
    text = "".join(plain)
    return re.sub(r"^(\s*)([#>+-])(\s)", r"\1\\\2\3", text) if not line.startswith(("* ", "- ")) else "* " + text[3:]

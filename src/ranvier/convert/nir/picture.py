"""A graph as text that Mermaid draws: GitHub, most editors and notebooks show it as a picture."""

from typing import Any

import numpy as np

SHAPES = {
    "Input": ("([", "])"),
    "Output": ("([", "])"),
    "LIF": ("((", "))"),
    "IF": ("((", "))"),
    "CubaLIF": ("((", "))"),
}


def picture(graph: Any) -> str:
    """Return the graph in the language of Mermaid (https://mermaid.js.org); nested graphs are boxes.

    >>> import torch, ranvier as rv
    >>> from ranvier.convert.nir import picture, to_nir
    >>> print(picture(to_nir(rv.Sequential(rv.Linear(3, 4), rv.LIF(reset="zero")), torch.zeros(1, 1, 3))))
    flowchart LR
      n0(["input: Input 3"])
      n1["0: Affine 4"]
      n2(("1: LIF 4"))
      n3(["output: Output 4"])
      n0 --> n1
      n1 --> n2
      n2 --> n3
    """
    lines: list[str] = ["flowchart LR"]
    _draw(graph, lines, "  ", "n")
    return "\n".join(lines)


def _draw(graph: Any, lines: list[str], indent: str, prefix: str) -> None:
    names = {name: f"{prefix}{k}" for k, name in enumerate(graph.nodes)}
    for name, node in graph.nodes.items():
        kind, label = type(node).__name__, str(name).replace('"', "'")
        if kind == "NIRGraph":
            lines.append(f'{indent}subgraph {names[name]}["{label}"]')
            _draw(node, lines, indent + "  ", f"{names[name]}_")
            lines.append(f"{indent}end")
            continue
        left, right = SHAPES.get(kind, ("[", "]"))
        lines.append(f'{indent}{names[name]}{left}"{label}: {kind}{_size(node)}"{right}')
    lines += [f"{indent}{names[a]} --> {names[b]}" for a, b in graph.edges if a in names and b in names]


def _size(node: Any) -> str:
    value = next(iter((node.output_type or {}).values()), None)
    return "" if value is None else " " + " x ".join(str(int(v)) for v in np.atleast_1d(value))

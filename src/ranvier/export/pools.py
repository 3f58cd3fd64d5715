"""Pooling over two spatial axes, on integers."""

from typing import Any

import numpy as np

from ranvier.export.integers import C, Numpy, Width
from ranvier.export.parts import Array, Constant, Part, Rescale, Wire


class Pool(Part):
    """The maximum ("max") or the sum ("sum") of a window [KH, KW]; a sum is multiplied by `factor`.

    padding: number of rows and columns before the image that belong to windows, but have no effect on the result.
    """

    def __init__(
        self, tag: str, path: str, kind: str, window: Any, stride: Any, padding: Any, factor: float, before: Wire,
        after: Wire, width: Width,
    ):  # fmt: skip
        self.tag, self.path, self.before, self.after = tag, path, before, after
        self.kind, self.window, self.stride, self.padding = kind, window, stride, padding
        bound = before.bound * (1 if kind == "max" else window[0] * window[1])
        unit = np.array([factor * 2.0 ** (after.frac - before.frac)])
        self.rescale = Rescale.of(tag, unit, np.zeros(1), after.frac, bound, width)

    def constants(self) -> list[Constant]:
        return []

    def body(self) -> list[str]:
        (channels, h, w), (_, h2, w2) = self.before.shape, self.after.shape
        (kh, kw), (sh, sw), (ph, pw) = self.window, self.stride, self.padding
        add = "sum = seen++ && sum > a ? sum : a;" if self.kind == "max" else "sum += a;"
        given = "sum"
        if self.kind == "sum":
            given = self.rescale.apply(C(), "sum", int(self.rescale.by[0]), 0)
        return [
            f"for (int o = 0; o < {channels}; o++) for (int r = 0; r < {h2}; r++) for (int c = 0; c < {w2}; c++) {{",
            f"    {self.rescale.word} sum = 0;",
            *(["    int seen = 0;"] if self.kind == "max" else []),
            f"    for (int i = 0; i < {kh}; i++) for (int j = 0; j < {kw}; j++) {{",
            f"        const int p = r * {sh} - {ph} + i, q = c * {sw} - {pw} + j;",
            f"        if (p < 0 || p >= {h} || q < 0 || q >= {w}) continue;",
            f"        const {self.rescale.word} a = x[(o * {h} + p) * {w} + q];",
            f"        {add}",
            "    }",
            f"    y[(o * {h2} + r) * {w2} + c] = ({self.after.type}){given};",
            "}",
        ]

    def step(self, x: Array, state: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        (_, h, w), (_, h2, w2) = self.before.shape, self.after.shape
        (kh, kw), (sh, sw), (ph, pw) = self.window, self.stride, self.padding
        nothing = -(2**62) if self.kind == "max" else 0
        after = [max(0, (n2 - 1) * s + k - n - p) for n, n2, s, k, p in
                 ((h, h2, sh, kh, ph), (w, w2, sw, kw, pw))]  # fmt: skip
        wide = np.pad(x, [(0, 0), (0, 0), (ph, after[0]), (pw, after[1])], constant_values=nothing)
        windows = np.lib.stride_tricks.sliding_window_view(wide, (kh, kw), (2, 3))[:, :, ::sh, ::sw][:, :, :h2, :w2]
        if self.kind == "max":
            return windows.max((-2, -1)), state
        return self.rescale.apply(Numpy(), windows.sum((-2, -1)), int(self.rescale.by[0]), 0), state

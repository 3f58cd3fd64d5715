"""Export a trained network to other platforms, with checks that it computes the same.

`c` converts a network to integers: one C99 file, and a Python program with exactly the same results. `quantised` makes
a copy of a network for training with these integers. `compile_and_run` compiles and runs the C file on this machine.
`onnx` and `pt2` convert a network to an ONNX file and to a PyTorch program. `check` compares a network with the limits
of a chip.
"""

from ranvier.export.aware import FewBits, fixed_point, quantised
from ranvier.export.compiled import compile_and_run
from ranvier.export.onnx_file import Onnx, onnx
from ranvier.export.program import Program, c
from ranvier.export.report import Report, report
from ranvier.export.targets import TARGETS, Misfit, Target, check
from ranvier.export.traced import Traced, pt2

__all__ = [
    "TARGETS",
    "FewBits",
    "Misfit",
    "Onnx",
    "Program",
    "Report",
    "Target",
    "Traced",
    "c",
    "check",
    "compile_and_run",
    "fixed_point",
    "onnx",
    "pt2",
    "quantised",
    "report",
]

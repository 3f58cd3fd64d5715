"""Export a trained network to other platforms, with checks that it computes the same.

`c` prints a network of integers as one C99 file, together with a reference in Python that gives the same bits;
`quantised` makes a copy for training that computes with those integers; `compile_and_run` compiles and runs the file on
this machine.
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

"""Coordinates on a BrainScaleS-2 chip, under the names that programs for hxtorch import."""

from ranvier.compat.dlens_vx_v3 import halco

__all__ = ["halco"]

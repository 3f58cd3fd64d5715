"""Sinabs' names: `import ranvier.compat.sinabs.layers as sl`. Signals are [B, T, *features]. A neuron may spike several
times in one step.
"""

from ranvier.compat.sinabs import activation, layers

__all__ = ["activation", "layers"]

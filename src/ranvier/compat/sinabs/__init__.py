"""Sinabs' names: `import ranvier.compat.sinabs.layers as sl`. Signals are [B, T, *features]; a step may hold several
spikes.
"""

from ranvier.compat.sinabs import activation, layers

__all__ = ["activation", "layers"]

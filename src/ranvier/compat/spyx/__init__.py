"""Spyx's names on torch tensors: `from ranvier.compat.spyx import axn, data, fn, nn`.

Equal to Spyx: the order of a step (spike, then input), strict thresholds, learned decays kept in [0, 1], neurons
called `(x, V) -> (spikes, V)`, `initial_state(batch)`, `run`, `time_axis=1` in losses. Intended differences are
described in the docstrings: PopulationCode, rate_code, shift_augment, labels out of range. If Spyx needs a key, pass a
`torch.Generator`, a whole number, or nothing.
"""

from ranvier.compat.spyx import axn, data, experimental, fn, loaders, nn, optimize, phasor

__all__ = ["axn", "data", "experimental", "fn", "loaders", "nn", "optimize", "phasor"]

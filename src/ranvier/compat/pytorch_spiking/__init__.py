"""The names, signatures and axis order of pytorch-spiking 0.1: x [B, T, N], batch first.

    import ranvier.compat.pytorch_spiking as pytorch_spiking

Differences: a given `initial_state` is never changed (the original continues from the state after the last call), may
be of any shape broadcastable to [B, N], and moves with the module; without one, it is drawn on the device of the input;
parameters of the activation are trained; second derivatives exist; the output has the dtype of the input; an empty
sequence is allowed, dt <= 0 raises an error. The computation is that of `ranvier.SpikingActivation` and
`ranvier.Lowpass`.
"""

from ranvier.compat.pytorch_spiking import functional, modules
from ranvier.compat.pytorch_spiking.modules import Lowpass, SpikingActivation, TemporalAvgPool

__version__ = "0.1.0"  # the release whose behaviour this follows

__all__ = ["Lowpass", "SpikingActivation", "TemporalAvgPool", "functional", "modules"]

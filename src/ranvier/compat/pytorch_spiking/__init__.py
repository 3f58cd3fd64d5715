"""The names, signatures and axis order of pytorch-spiking 0.1: x [B, T, N], batch first.

    import ranvier.compat.pytorch_spiking as pytorch_spiking

What differs, and why: a given `initial_state` is never written to (the original ran on from where the last call had
left it), may be of any shape broadcastable to [B, N], and moves with the module; without one, it is drawn on the
device of the input; parameters of the activation are trained; second derivatives exist; the output has the dtype of
the input; an empty sequence is answered, dt <= 0 refused. The computation is that of `ranvier.SpikingActivation` and
`ranvier.Lowpass`.
"""

from ranvier.compat.pytorch_spiking import functional, modules
from ranvier.compat.pytorch_spiking.modules import Lowpass, SpikingActivation, TemporalAvgPool

__version__ = "0.1.0"  # the release whose behaviour this follows

__all__ = ["Lowpass", "SpikingActivation", "TemporalAvgPool", "functional", "modules"]

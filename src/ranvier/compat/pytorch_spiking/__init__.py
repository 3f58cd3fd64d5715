"""The names, signatures and axis order of pytorch-spiking 0.1: x [B, T, N], batch first.

    import ranvier.compat.pytorch_spiking as pytorch_spiking

Differences from the original:

* A given `initial_state` is never changed (the original continues from the state after the last call). It may have any
  shape broadcastable to [B, N], and moves with the module. Without it, the state is drawn on the device of the input.
* Parameters of the activation are trained, and second derivatives exist.
* The output has the dtype of the input. An empty sequence is allowed; dt <= 0 raises an error.

`ranvier.SpikingActivation` and `ranvier.Lowpass` do the computation.
"""

from ranvier.compat.pytorch_spiking import functional, modules
from ranvier.compat.pytorch_spiking.modules import Lowpass, SpikingActivation, TemporalAvgPool

__version__ = "0.1.0"  # the release whose behaviour this follows

__all__ = ["Lowpass", "SpikingActivation", "TemporalAvgPool", "functional", "modules"]

"""`clock_driven`, the name of SpikingJelly's package up to 0.0.0.0.12, which also has `MultiStep*` names."""

import sys

from ranvier.compat.spikingjelly.activation_based import ann2snn, base, encoding, functional, monitor, rnn, surrogate
from ranvier.compat.spikingjelly.clock_driven import layer, neuron

__all__ = ["ann2snn", "base", "encoding", "functional", "layer", "monitor", "neuron", "rnn", "surrogate"]

for _module in (ann2snn, base, encoding, functional, monitor, rnn, surrogate):  # so that they can be imported by name
    sys.modules[f"{__name__}.{_module.__name__.rpartition('.')[2]}"] = _module

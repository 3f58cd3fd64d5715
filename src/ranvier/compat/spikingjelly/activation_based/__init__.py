"""The modules of SpikingJelly's `activation_based`."""

from ranvier.compat.spikingjelly.activation_based import (
    ann2snn,
    base,
    encoding,
    functional,
    layer,
    learning,
    monitor,
    neuron,
    rnn,
    surrogate,
)

__all__ = ["ann2snn", "base", "encoding", "functional", "layer", "learning", "monitor", "neuron", "rnn", "surrogate"]

"""Between worlds: rates and spikes, trained networks and spiking ones."""

from ranvier.convert.rate import MeanOverTime, SpikingActivation, rate_penalty, sweep, ticks_of

__all__ = ["MeanOverTime", "SpikingActivation", "rate_penalty", "sweep", "ticks_of"]

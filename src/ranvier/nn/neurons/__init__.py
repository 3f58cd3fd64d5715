"""Neurons: layers whose equation is a rule (or, for parallel neurons, one formula for all steps).

| family | neurons |
|---|---|
| integrate and fire | IF LIF LI RestLIF ParametricLIF KLIF ComplementaryLIF AnalogLIF GatedLIF Heaviside |
| with a synaptic current | CubaLIF CubaLI |
| adaptive | ALIF SEAdLIF SiLIF |
| resonating | ResonateAndFire BRF BHRF AssociativeResonate |
| with an upstroke | QIF EIF Izhikevich AdEx |
| in SI units | PhysicalLIF PhysicalLI AdEx |
| more than one bit | TernaryLIF IntegerLIF |
| parallel in time | AssociativeLIF ParallelLIF PSN MaskedPSN SlidingPSN |
| exact spike times | TimedLIF TimedLI |
| spike before the input is added | FireFirstIF FireFirstLIF FireFirstALIF FireFirstCubaLIF ClampedLI |
| for local learning | TracedIF TracedLIF TracedALIF Fede |
"""

from ranvier.nn.neurons.adaptive import ALIF
from ranvier.nn.neurons.adlif import SEAdLIF, SiLIF
from ranvier.nn.neurons.associative import AssociativeLIF, AssociativeResonate, ParallelLIF
from ranvier.nn.neurons.balanced import BHRF, BRF
from ranvier.nn.neurons.current import CubaLI, CubaLIF
from ranvier.nn.neurons.fire_first import ClampedLI, FireFirstALIF, FireFirstCubaLIF, FireFirstIF, FireFirstLIF
from ranvier.nn.neurons.gated import GatedLIF
from ranvier.nn.neurons.heaviside import Heaviside
from ranvier.nn.neurons.integrate import IF
from ranvier.nn.neurons.izhikevich import Izhikevich
from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.neurons.multilevel import IntegerLIF, TernaryLIF
from ranvier.nn.neurons.parallel import PSN, MaskedPSN, SlidingPSN
from ranvier.nn.neurons.parametric import KLIF, AnalogLIF, ComplementaryLIF, ParametricLIF, RestLIF
from ranvier.nn.neurons.physical import AdEx, PhysicalLI, PhysicalLIF
from ranvier.nn.neurons.quadratic import EIF, QIF
from ranvier.nn.neurons.resonate import ResonateAndFire
from ranvier.nn.neurons.timed import TimedLI, TimedLIF
from ranvier.nn.neurons.traced import Fede, TracedALIF, TracedIF, TracedLIF

__all__ = [
    "ALIF", "BHRF", "BRF", "EIF", "IF", "KLIF", "LI", "LIF", "PSN", "QIF", "AdEx", "AnalogLIF", "AssociativeLIF",
    "AssociativeResonate", "ClampedLI", "ComplementaryLIF", "CubaLI", "CubaLIF", "Fede", "FireFirstALIF",
    "FireFirstCubaLIF", "FireFirstIF", "FireFirstLIF", "GatedLIF", "Heaviside", "IntegerLIF", "Izhikevich",
    "MaskedPSN", "ParallelLIF", "ParametricLIF", "PhysicalLI", "PhysicalLIF", "ResonateAndFire", "RestLIF",
    "SEAdLIF", "SiLIF", "SlidingPSN", "TernaryLIF", "TimedLI", "TimedLIF", "TracedALIF", "TracedIF", "TracedLIF",
]  # fmt: skip

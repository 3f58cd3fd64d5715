"""Learning without backpropagation: traces, rules of the STDP family, connections with delays, and competition."""

from ranvier.plasticity.change import accumulate, apply, draw, normalise
from ranvier.plasticity.competition import Lateral, WinnerTakeAll
from ranvier.plasticity.connection import Connection, Conv2d, Dense, arrivals
from ranvier.plasticity.contest import Contest, name, votes
from ranvier.plasticity.hebb import hebb
from ranvier.plasticity.reward import discounted, eligibility
from ranvier.plasticity.rules import balance, fede, oja, pair, rewarded, stdp, triplet, voltage
from ranvier.plasticity.trace import Trace

__all__ = [
    "Connection", "Contest", "Conv2d", "Dense", "Lateral", "Trace", "WinnerTakeAll", "accumulate", "apply", "arrivals",
    "balance", "discounted", "draw", "eligibility", "fede", "hebb", "name", "normalise", "oja", "pair", "rewarded",
    "stdp", "triplet", "voltage", "votes",
]  # fmt: skip

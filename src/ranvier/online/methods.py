"""The gradients of a spiking network that can be chosen, and the traces that each of them stores forward in time."""

from dataclasses import dataclass
from typing import Literal

Traces = Literal["exact", "inputs", "none"]


@dataclass(frozen=True)
class Method:
    """One way to learn forward in time.

    traces: "exact", a trace for every weight into every neuron (B N K numbers per state); "inputs", a trace for every
    input (B K numbers per state), for neurons whose states are linear; "none", only the current step counts.
    detached: no gradient flows through the reset of neurons that have the option `detach_reset`.
    reads: whether the gradient of a layer includes the memory of a linear readout above it.
    """

    traces: Traces
    detached: bool
    reads: bool
    says: str


ONLINE = {
    "drtrl": Method("exact", False, True, "real-time recurrent learning within each neuron, exact there"),
    "eprop": Method("exact", True, True, "eligibility propagation, Bellec et al., Nature Communications 2020"),
    "ostl": Method("exact", False, False, "online spatio-temporal learning, Bohnstingl et al., TNNLS 2022"),
    "ottt": Method("inputs", True, False, "online training through time, Xiao et al., NeurIPS 2022"),
    "sltt": Method("none", True, False, "spatial learning through time, Meng et al., ICCV 2023"),
}
WHOLE = {
    "bptt": "backpropagation through time",
    "eventprop": "exact derivatives of spike times, Wunderlich & Pehle, Scientific Reports 2021",
}
SAYS = {**WHOLE, **{name: method.says for name, method in ONLINE.items()}}
GRADIENTS = tuple(SAYS)
FEEDBACKS = ("symmetric", "random", "adaptive")


def checked(what: str, name: object, known: tuple[str, ...]) -> str:
    """Return the name; raise an error if it is not known."""
    if name not in known:
        raise ValueError(f"{what} must be one of {', '.join(map(repr, known))}, got {name!r}")
    return str(name)

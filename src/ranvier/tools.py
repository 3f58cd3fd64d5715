"""Tools: look at a net, and choose how it is computed.

| tool | what it does |
|---|---|
| `explain` | says which backend carries each layer, and why |
| `saved_memory` | what a net keeps from its forward to its backward pass |
| `compare_gradients` | all ways to differentiate a net beside each other, layer by layer |
| `backend` | takes one backend: "numba", "triton" or "reference" |
| `graphed` | a net on a GPU as CUDA graphs |
| `products` | pins how matrix products are computed |
| `machine_report` | what was measured of this machine, and what follows |
| `decay` | the decay per step of a time constant |
"""

from ranvier.backends.choose import backend
from ranvier.nn.graphed import graphed
from ranvier.nn.saved_memory import saved_memory
from ranvier.nn.verbs import explain
from ranvier.online.compare_gradients import compare_gradients
from ranvier.spikes.dense import products
from ranvier.spikes.machine import machine_report
from ranvier.units import decay

__all__ = [
    "backend", "compare_gradients", "decay", "explain", "graphed", "machine_report", "products", "saved_memory",
]  # fmt: skip

"""Tools: inspect a network, and choose how it is computed.

| tool | what it does |
|---|---|
| `explain` | reports which backend runs each layer, and why |
| `saved_memory` | reports the memory that a network saves between its forward and its backward pass |
| `compare_gradients` | compares all ways to differentiate a network, layer by layer |
| `backend` | forces one backend: "numba", "triton" or "reference" |
| `graphed` | runs a network on a GPU as CUDA graphs |
| `products` | chooses which library computes matrix products |
| `machine_report` | reports how fast matrix products are on this machine, and which method is chosen |
| `decay` | converts a time constant to the decay per step |
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

"""Verbs: functions that run a network. They differ in how they handle its state.

| verb | what it does |
|---|---|
| `scan`, `step` | run a sequence, or one step; the state is an argument and is returned |
| `Stream` | runs one step at a time, and stores the state |
| `record` | runs a sequence, and returns membranes, spikes, ... over time |
| `detach` | detaches a state from the autograd graph, for truncated backpropagation |
| `checkpoint` | runs some layers, and runs them again in backward to save memory |
| `padded`, `lengths_of` | handle sequences of different lengths |
| `first_spike`, `encode_times` | convert spikes to spike times, and spike times to spikes |
"""

from ranvier.nn.padded import lengths_of, padded
from ranvier.nn.recomputed import checkpoint
from ranvier.nn.stream import Stream
from ranvier.nn.timed import encode_times, first_spike
from ranvier.nn.verbs import detach, record, scan, step

__all__ = [
    "Stream", "checkpoint", "detach", "encode_times", "first_spike", "lengths_of", "padded", "record", "scan", "step",
]  # fmt: skip

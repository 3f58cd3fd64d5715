"""Verbs: how a net is run. The verb decides where its state lives.

| verb | what it does |
|---|---|
| `scan`, `step` | a sequence, or one step, with the state in and out |
| `Stream` | one step at a time; remembers the state |
| `record` | runs a sequence, gives the course of membranes, spikes, ... |
| `detach` | cuts a state off from what made it, for truncated backpropagation |
| `checkpoint` | runs a part, and runs it again in backward instead of keeping its memory |
| `padded`, `lengths_of`, `first_spike`, `encode_times` | sequences of different length; times of spikes, and back |
"""

from ranvier.nn.padded import lengths_of, padded
from ranvier.nn.recomputed import checkpoint
from ranvier.nn.stream import Stream
from ranvier.nn.timed import encode_times, first_spike
from ranvier.nn.verbs import detach, record, scan, step

__all__ = [
    "Stream", "checkpoint", "detach", "encode_times", "first_spike", "lengths_of", "padded", "record", "scan", "step",
]  # fmt: skip

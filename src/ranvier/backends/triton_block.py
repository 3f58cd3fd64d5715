"""Choose how many neurons a program of a GPU runs, and how many steps it loads at once.

A program waits for memory at each segment, and programs on different processors can wait at the same time. So a small
number of neurons is divided among all processors. With many neurons, each thread runs as many as fit one load of 16
bytes, the largest that exists. The registers of a thread must have room for the rows and states of a segment, and for
the values of the rule's adjoint.
"""

from typing import NamedTuple

REGISTERS = 208  # registers that a thread may use, of 255
LIVE = 52  # most operations that count in the choice of loads: in larger rules, no more values are needed at once
UNROLLED = 1024  # most operations in a segment: the steps are unrolled, so each operation is compiled once per step


class Held(NamedTuple):
    """The values that backward keeps in registers for one neuron."""

    rows: int  # per step: inputs and gradients of outputs
    states: int  # per step
    rest: int  # once per neuron: gradients of states and parameters
    # Operations of the adjoint. By measurement, a third of their values needs a register at any time, and half of them
    # are the same for all neurons.
    ops: int


class Block(NamedTuple):
    """The neurons and steps of one program: constants of the kernels."""

    BLOCK: int  # neurons
    SEGMENT: int  # number of steps whose rows are loaded at once
    num_warps: int


def block(neurons: int, processors: int, held: Held, width: int = 4, real: int = 4) -> Block:
    """Return the block for a number of neurons whose inputs take `width` bytes each and whose states take `real` bytes
    each.

    >>> lif = Held(rows=2, states=1, rest=2, ops=18)
    >>> block(4096, 132, lif)
    Block(BLOCK=32, SEGMENT=32, num_warps=1)
    >>> block(1 << 20, 132, lif), block(1 << 20, 132, lif, width=2)
    (Block(BLOCK=512, SEGMENT=8, num_warps=4), Block(BLOCK=1024, SEGMENT=8, num_warps=4))
    """
    share = max(32, _power(-(-neurons // processors)))
    steps = next((s for s in (4, 2) if s * held.ops <= UNROLLED), 1)
    each, live = min(16 // width, share // 32), held if steps < 4 else held._replace(ops=min(held.ops, LIVE))
    while each > 1 and _registers(each, steps, live, width, real) > REGISTERS:
        each //= 2
    most = min(32, 64 // each, UNROLLED // held.ops if held.ops else 32)
    while 2 * steps <= most and _registers(each, 2 * steps, held, width, real) <= REGISTERS:
        steps *= 2
    warps = min(4, share // (32 * each))
    return Block(32 * each * warps, steps, warps)


def segment(steps: int, most: int) -> int:
    """Return the number of steps per segment, at most `most`, that needs the fewest marks. Each segment has one mark,
    and so has each step after the last whole segment.

    >>> [segment(steps, 8) for steps in (1, 4, 6, 8, 15, 16, 100)]
    [8, 4, 4, 8, 4, 8, 8]
    """
    powers = [1 << k for k in range(most.bit_length() - 1, -1, -1)]
    return min(powers, key=lambda s: sum(divmod(steps, s)))


def _registers(each: int, steps: int, held: Held, width: int, real: int) -> int:
    """Return the number of 4-byte registers that a thread needs for `each` neurons and `steps` steps at once."""
    held_bytes = steps * (held.rows * width + held.states * real) + (held.rest + held.ops // 3) * real
    return (each * held_bytes + held.ops // 2 * real) // 4


def _power(n: int) -> int:
    """Return the smallest power of two that is at least n.

    >>> [_power(n) for n in (1, 2, 3, 8, 9)]
    [1, 2, 4, 8, 16]
    """
    return 1 << (n - 1).bit_length()

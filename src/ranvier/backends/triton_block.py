"""How much one program of a GPU carries: neurons, and steps at once.

A program waits for memory at each segment, and all programs wait at once. So few neurons are shared by all processors;
many come as many a thread as fill the largest load, 16 bytes. What is held must fit the registers of a thread: the rows
and states of a segment, and what the rule itself needs on its way back.
"""

from typing import NamedTuple

REGISTERS = 208  # of a thread's 255
UNROLLED = 1024  # operations of the rule in a segment: each is compiled as often as there are steps


class Held(NamedTuple):
    """What backward holds for one neuron."""

    rows: int  # inputs and gradients of outputs, each step
    states: int  # each step
    rest: int  # once: gradients of states and parameters
    ops: int  # operations of the adjoint: a value in three waits for another, one in two is the same for all neurons


class Block(NamedTuple):
    """What one program carries, and how: constants of the kernels."""

    BLOCK: int  # neurons
    SEGMENT: int  # steps whose rows are asked for at once
    num_warps: int


def block(neurons: int, processors: int, held: Held, width: int = 4, real: int = 4) -> Block:
    """The block for so many neurons, whose inputs take `width` and whose states `real` bytes each.

    >>> lif = Held(rows=2, states=1, rest=2, ops=18)
    >>> block(4096, 132, lif)
    Block(BLOCK=32, SEGMENT=32, num_warps=1)
    >>> block(1 << 20, 132, lif), block(1 << 20, 132, lif, width=2)
    (Block(BLOCK=512, SEGMENT=8, num_warps=4), Block(BLOCK=1024, SEGMENT=8, num_warps=4))
    """
    share = max(32, _power(-(-neurons // processors)))
    steps = next((s for s in (4, 2) if s * held.ops <= UNROLLED), 1)
    each = min(16 // width, share // 32)
    while each > 1 and _registers(each, steps, held, width, real) > REGISTERS:
        each //= 2
    most = min(32, 64 // each, UNROLLED // held.ops if held.ops else 32)
    while 2 * steps <= most and _registers(each, 2 * steps, held, width, real) <= REGISTERS:
        steps *= 2
    warps = min(4, share // (32 * each))
    return Block(32 * each * warps, steps, warps)


def segment(steps: int, most: int) -> int:
    """The steps of a segment, `most` or fewer, that leave the fewest marks: one a segment, and one for each step after
    the last.

    >>> [segment(steps, 8) for steps in (1, 4, 6, 8, 15, 16, 100)]
    [8, 4, 4, 8, 4, 8, 8]
    """
    powers = [1 << k for k in range(most.bit_length() - 1, -1, -1)]
    return min(powers, key=lambda s: sum(divmod(steps, s)))


def _registers(each: int, steps: int, held: Held, width: int, real: int) -> int:
    """What a thread needs for so many neurons and steps at once, of 4 bytes each."""
    held_bytes = steps * (held.rows * width + held.states * real) + (held.rest + held.ops // 3) * real
    return (each * held_bytes + held.ops // 2 * real) // 4


def _power(n: int) -> int:
    """The least power of two not below n.

    >>> [_power(n) for n in (1, 2, 3, 8, 9)]
    [1, 2, 4, 8, 16]
    """
    return 1 << (n - 1).bit_length()

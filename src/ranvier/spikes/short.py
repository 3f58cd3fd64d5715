"""Short sequences: a row of linear layers and their neurons as one autograd function.

In a small network calls take longer than arithmetic. So a sequence that fits one chunk is run here: one product and one
kernel per layer and direction, and one autograd function for the whole row. Products and kernels are those of
`chunked.py`, so outputs are equal bit for bit. Every layer starts from its initial states, which are plain numbers, and
the states after the last step are not returned.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor

from ranvier.backends.autograd import Function
from ranvier.derive.rule import Rule
from ranvier.spikes import product
from ranvier.spikes.link import Link, RecurrentLink, Size


class Piece(NamedTuple):
    """A layer of the row: how it is computed, and its tensors.

    params: the parameters of the rule that are not plain numbers; for recurrent neurons the last one is the weight
    through which spikes return.
    """

    link: Link
    weight: Tensor
    bias: Tensor | None
    params: Sequence[Tensor]


def fits(steps: int, batch: int, width: int) -> bool:
    """Whether a sequence is so small that events and chunks are not worthwhile."""
    return 0 < steps * batch * width < product.SMALL


@lru_cache(maxsize=64)
def link(
    rule: Rule, size: Size, wide: tuple[bool, ...], numbers: tuple[float, ...], initial: tuple[float, ...],
    recurrent: bool,
) -> Link:  # fmt: skip
    """Return how neurons are run; it is made once for each size.

    wide: which parameters differ from neuron to neuron; numbers: the further arguments of the rule; initial: the
    initial states.
    """
    return (RecurrentLink if recurrent else Link)(rule, size, wide, numbers, initial)


def run(x: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """x [T, B, K], contiguous -> the output [T, B, N] of the last layer."""
    given = [t for p in pieces for t in (p.weight, p.bias, *p.params)]
    return _Short.apply([p.link for p in pieces], x, *given)  # type: ignore[return-value]


class _Short(Function):
    """The autograd function for the row of layers, each with weight, bias and params."""

    @staticmethod
    def forward(ctx: Any, links: Sequence[Link], x: Tensor, *given: Any) -> Tensor:
        saved, y, at = [], x, 0
        for link in links:
            x = y.view(-1, y.shape[2])
            weight, bias, *params = given[at : (at := at + 2 + link.count)]
            u, y = link.forward(x, weight, bias, params)
            saved += x, weight, u, *params, *link.kept(y)
        ctx.links = links
        ctx.save_for_backward(*saved)
        return y

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        needs, g, links = ctx.needs_input_grad, grads[0], list(ctx.links)
        found, at, end = [], len(needs), len(saved)
        while links and g is not None:
            link = links.pop()
            at, begin, behind = at - 2 - link.count, end - 3 - link.count - link.more, at
            g, own = link.backward(saved[begin:end], g, any(needs[1:at]), needs[at:behind])
            found, end = [*own, *found], begin
        g_x = None if g is None else g.view(link.steps, link.batch, -1)
        return None, g_x, *(None for _ in needs[2:at]), *found

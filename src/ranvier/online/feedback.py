"""Feedback of the output error to hidden layers through separate feedback weights, instead of the weights of the layers
above.
"""

from typing import Any

from torch import Tensor

from ranvier.backends.autograd import Function, whole


class Broadcast(Function):
    """Return y unchanged, but send its gradient g [T, B, *C] also to the hidden layers: neuron j of a layer gets sum_c
    weight[c, j] g[c].

    Arguments: y, the number of hidden layers, and for each of them the weight [C, N], the output [T, B, *features], and
    f, the output after the filter of the readout. The gradient of a feedback weight equals that of the readout weight,
    sum_t g[c] f[j]. So learned feedback weights become equal to the readout weights, if both have weight decay. Bellec
    et al., 2020, adaptive e-prop; Kolen & Pollack, Backpropagation without weight transport, 1994.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, count: int, *tensors: Tensor) -> Tensor:
        ctx.count, ctx.shapes = count, [z.shape for z in tensors[count : 2 * count]]
        adapts = any(w.requires_grad for w in tensors[:count])
        ctx.save_for_backward(*tensors[:count], *(tensors[2 * count :] if adapts else ()))
        return whole(y, y.shape)

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        (g,), count = grads, ctx.count
        if g is None:
            return (None,) * (2 + 3 * count)
        weights, heard, rows = saved[:count], saved[count:], g.flatten(2)
        hidden = [(rows.to(w) @ w).view(shape).to(g) for w, shape in zip(weights, ctx.shapes, strict=True)]
        flat = rows.flatten(0, 1)
        adapted = [(flat.t() @ f.flatten(2).flatten(0, 1).to(g)).to(w) for f, w in zip(heard, weights, strict=False)]
        return g, None, *(adapted or [None] * count), *hidden, *[None] * count

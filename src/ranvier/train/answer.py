"""What a net makes of a batch, and what of it goes on to losses and metrics."""

from torch import Tensor, nn

from ranvier.nn.padded import heeds_lengths, padded


def answer(
    net: nn.Module, x: Tensor, labels: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Traces of x `[T, B, *features]`, and what a loss is called with beside them: labels, or labels and lengths.

    Recordings of different length (`lengths` `[B]`) go through `padded`: what is behind the end of each changes
    nothing. A net whose forward takes `lengths` is handed them instead; if it gives another number of steps than it
    was shown, the loss gets no lengths.

    >>> import torch, ranvier
    >>> traces, rest = answer(ranvier.LI(), torch.ones(3, 2, 1), torch.tensor([0, 0]), torch.tensor([3, 1]))
    >>> traces[:, 1, 0], rest
    (tensor([1., 0., 0.]), (tensor([0, 0]), tensor([3, 1])))
    """
    if lengths is None:
        return net(x), (labels,)
    if not heeds_lengths(net):
        return padded(net, x, lengths), (labels, lengths)
    traces = net(x, lengths=lengths)
    return traces, ((labels, lengths) if len(traces) == len(x) else (labels,))

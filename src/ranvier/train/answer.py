"""Run a network on a batch and prepare the arguments of losses and metrics."""

from torch import Tensor, nn

from ranvier.nn.padded import heeds_lengths, padded


def answer(
    net: nn.Module, x: Tensor, labels: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the traces of a network for x `[T, B, *features]`, and the other arguments of a loss: labels, or labels
    and lengths.

    Recordings of different lengths (`lengths` `[B]`) are run by `padded`, so the padding after the end of each has no
    effect. If the `forward` of the network has an argument `lengths`, the network is called with it instead. If its
    output then has another number of steps than x, the loss gets no lengths.

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

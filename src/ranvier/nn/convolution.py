"""A convolution that is faster if its input has few spikes."""

from typing import Any

from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.nn.quantised import Quantisable
from ranvier.nn.temporal import check_floating
from ranvier.nn.verbs import note
from ranvier.spikes import convolution


class Conv2d(Quantisable, nn.Conv2d):
    """torch's convolution of images, but faster if the input has few spikes: y[o] = b[o] + sum over channels c of w[o,
    c] * x[c], where * is the convolution.

    It can replace `torch.nn.Conv2d` (same arguments, same state_dict). x [N, C, H, W] -> [N, out_channels, H', W'],
    with the output size of torch's layer. On the CPU and in float32 it counts the inputs that are not zero. If they are
    few enough (the limit is measured once per machine, usually between a tenth and a third of the inputs), only the
    weights of these inputs are added up; otherwise torch computes the convolution. If the inputs are spikes, only their
    bits are saved for backward. The choice is made separately for forward and for the gradient of the weight. torch's
    convolution is also used for groups, dilation, padding modes other than zeros, an even kernel with padding "same",
    autocast, torch.compile and torch.func. Results differ from torch's only by rounding, because sums have another
    order.

    >>> import torch, ranvier
    >>> ranvier.Conv2d(2, 32, 3, padding=1)(torch.zeros(8, 2, 34, 34)).shape
    torch.Size([8, 32, 34, 34])
    """

    plain = nn.Conv2d

    def forward(self, input: Tensor) -> Any:
        check_floating(self, input)
        note(self, input, self.explain)
        padding = self._sides()
        if padding is not None and choose.fuses(input) and type(self.weight) in choose.PLAIN:
            if convolution.serves(input, self.weight, self.stride, padding):
                bits, share, spikes = convolution.look(input.detach())
                if spikes or convolution.few(share, self.weight) or convolution.few_of_gradient(share, self.weight):
                    known = bits if spikes else None
                    return convolution.convolution(input, known, share, self.weight, self.bias, self.stride, padding)
        return super().forward(input)

    def _sides(self) -> tuple[int, ...] | None:
        """Return the numbers of rows and of columns of padding on each side; None if the event-driven path cannot
        compute this convolution.
        """
        if self.groups != 1 or set(self.dilation) != {1} or self.padding_mode != "zeros":
            return None
        if self.padding == "same":
            return tuple(k // 2 for k in self.kernel_size) if all(k % 2 for k in self.kernel_size) else None
        return (0, 0) if self.padding == "valid" else self.padding  # type: ignore[return-value]

    def explain(self, x: Tensor) -> str:
        """Describe how the convolution of inputs like x is computed, and why."""
        padding = self._sides()
        if padding is None:
            return (
                "dense: events are for convolutions without groups, dilation or padding that is not zeros on both sides"
            )
        return convolution.explain(x, self.weight, self.stride, padding)

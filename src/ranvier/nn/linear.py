"""A linear layer whose cost falls with the number of spikes."""

from typing import Any

from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.nn.quantised import Quantisable
from ranvier.nn.temporal import check_floating
from ranvier.nn.verbs import note
from ranvier.spikes import product


class Linear(Quantisable, nn.Linear):
    """torch's linear layer, whose cost follows the spikes: y = x W^T + b.

    Drop-in for `torch.nn.Linear` (same arguments, same state_dict). x [*, in_features] -> [*, out_features]. On CPU and
    in float32 it counts the inputs that are not zero: where they are so few that it is quicker here (measured once per
    machine, between a tenth and a third of them as a rule) only the columns of W that spiked are added up; elsewhere
    the product is dense. Of spikes only the bits are kept for backward. Forward and backward decide for themselves.
    Results differ from torch's only by the order of sums. Under autocast, torch.func, torch.compile and the reference
    backend the product is torch's.

    >>> import torch, ranvier
    >>> ranvier.Linear(700, 256)(torch.zeros(100, 64, 700)).shape
    torch.Size([100, 64, 256])
    """

    plain = nn.Linear

    def forward(self, input: Tensor) -> Any:
        check_floating(self, input)
        note(self, input, self.explain)
        if not self.by_events(input):
            return super().forward(input)  # torch raises its error for a wrong width
        return product.linear(input, self.weight, self.bias, product.bits_of(input))

    def by_events(self, x: Tensor) -> bool:
        """Whether x is an input whose zeros may be skipped."""
        return (
            x.dtype == self.weight.dtype
            and x.shape[-1:] == (self.in_features,)
            and choose.fuses(x)
            and type(self.weight) in choose.PLAIN
        )

    def explain(self, x: Tensor) -> str:
        """Which way the product of inputs like x goes."""
        return product.explain(x, self.out_features) if self.by_events(x) else "dense: torch's product"

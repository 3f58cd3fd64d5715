"""A linear layer that is faster if its input has few spikes."""

from typing import Any

from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.nn.quantised import Quantisable
from ranvier.nn.temporal import check_floating
from ranvier.nn.verbs import note
from ranvier.spikes import product


class Linear(Quantisable, nn.Linear):
    """torch's linear layer, but faster if the input has few spikes: y = x W^T + b.

    It can replace `torch.nn.Linear` (same arguments, same state_dict). x [*, in_features] -> [*, out_features]. On the
    CPU and in float32 it counts the inputs that are not zero. If they are few enough (the limit is measured once per
    machine, usually between a tenth and a third of the inputs), only the columns of W whose inputs spiked are added up;
    otherwise the product is dense. If the inputs are spikes, only their bits are saved for backward. The choice is made
    separately for forward and for backward. Results differ from torch's only by rounding, because sums have another
    order. Under autocast, torch.func, torch.compile and the reference backend the product is torch's.

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
        return product.linear(input, self.weight, self.bias)

    def by_events(self, x: Tensor) -> bool:
        """Whether the event-driven path, which skips zeros, may be used for the input x."""
        return (
            x.dtype == self.weight.dtype
            and x.shape[-1:] == (self.in_features,)
            and choose.fuses(x)
            and type(self.weight) in choose.PLAIN
        )

    def explain(self, x: Tensor) -> str:
        """Describe how the product with inputs like x is computed, and why."""
        return product.explain(x, self.out_features) if self.by_events(x) else "dense: torch's product"

"""SpikingJelly's converter; it uses `ranvier.convert`."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

import ranvier
from ranvier.compat.spikingjelly.activation_based.base import MemoryModule
from ranvier.convert.ann import convert


class Converted(MemoryModule):
    """A converted network. A call runs one step, x [N, *features] -> [N, *outputs]; `reset()` starts a new sequence."""

    def __init__(self, net: nn.Module):
        super().__init__("s")
        self.net = net
        self.register_memory("state", None)

    def single_step_forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        y, self.state = ranvier.step(self.net, x, self.state)
        return y

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:  # type: ignore[override]
        y, self.state = ranvier.scan(self.net, x_seq, self.state)
        return y


class Converter(nn.Module):
    """`Converter(dataloader, mode="Max")(ann)`: every ReLU becomes a neuron whose rate approximates the ReLU's output.

    mode: "Max", the threshold is the largest output of the layer on the data; or a percentile such as "99.9%".
    `fuse_flag` has no effect: batch normalisation is always folded into the layer before it. `momentum` has no effect:
    thresholds are computed from all data at once.

    >>> import torch
    >>> from torch import nn
    >>> ann = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    >>> x = torch.rand(50, 3)
    >>> snn = Converter([(x, None)], mode="Max")(ann)
    >>> bool(((sum(snn(x) for _ in range(200)) / 200 - ann(x)).abs() < 0.05).all())
    True
    """

    def __init__(
        self,
        dataloader: Iterable[Any],
        device: Any = None,
        mode: str = "Max",
        momentum: float = 0.1,
        fuse_flag: bool = True,
    ):
        super().__init__()
        if not isinstance(mode, str) or not (mode.lower() == "max" or mode.endswith("%")):
            raise ValueError(f'Converter: mode must be "Max" or a percentage such as "99.9%", got {mode!r}')
        self.dataloader, self.device, self.mode = dataloader, device, mode

    def forward(self, ann: nn.Module) -> Converted:
        ann = ann if self.device is None else ann.to(self.device)
        share = {} if self.mode.lower() == "max" else {"percentile": float(self.mode[:-1])}
        balance = "percentile" if share else "max"
        return Converted(convert(ann.eval(), self.dataloader, balance=balance, per_channel=False, **share))

"""Layers that torch's quantisation may replace."""

import warnings
from typing import Any

from torch import nn


class Quantisable(nn.Module):
    """A layer of torch that is quick on spikes: told to be quantised, it becomes the layer of torch.

    `torch.ao.quantization` finds layers by their very type, gives them a `qconfig` (None to the others) and then
    replaces them. `prepare_qat` takes all; `quantize_dynamic` those whose types it is told: name Ranvier's beside
    torch's, `quantize_dynamic(net, {nn.Linear, ranvier.Linear})`. A layer that is left out says so. A class of your own
    that derives from such a layer is passed over, as torch passes over those that derive from its own.
    """

    plain: type[nn.Module]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "qconfig" and "plain" in vars(type(self)):
            if value is None:
                ours = type(self).__name__
                warnings.warn(
                    f"ranvier.{ours} is not quantised, since its type was not asked for; if it is to be, name it: "
                    f"quantize_dynamic(net, {{nn.{ours}, ranvier.{ours}}}), or give it a qconfig of its own",
                    stacklevel=2,
                )
            else:
                self.__class__ = self.plain  # type: ignore[assignment]
        nn.Module.__setattr__(self, name, value)  # type: ignore[arg-type]

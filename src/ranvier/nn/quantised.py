"""Layers that torch's quantisation can replace."""

import warnings
from typing import Any

from torch import nn


class Quantisable(nn.Module):
    """A layer of torch that is fast on spikes; when it is quantised, it first becomes torch's own layer.

    `torch.ao.quantization` finds layers by their exact type, gives them a `qconfig` (None to the others) and then
    replaces them. `prepare_qat` replaces all; `quantize_dynamic` replaces only the types that it is given, so add
    Ranvier's to torch's: `quantize_dynamic(net, {nn.Linear, ranvier.Linear})`. A layer that is left out gives a
    warning. Your own subclass of such a layer is not replaced, just as torch does not replace subclasses of its layers.
    """

    plain: type[nn.Module]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "qconfig" and "plain" in vars(type(self)):
            if value is None:
                ours = type(self).__name__
                warnings.warn(
                    f"ranvier.{ours} is not quantised, since its type was not given; to quantise it, name it: "
                    f"quantize_dynamic(net, {{nn.{ours}, ranvier.{ours}}}), or set its qconfig",
                    stacklevel=2,
                )
            else:
                self.__class__ = self.plain  # type: ignore[assignment]
        nn.Module.__setattr__(self, name, value)  # type: ignore[arg-type]

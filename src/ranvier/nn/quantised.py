"""Layers that torch's quantisation can replace."""

import warnings
from typing import Any

from torch import nn


class Quantisable(nn.Module):
    """Base class of torch layers that are fast on spikes. Before such a layer is quantised, it is changed to torch's
    own layer.

    `torch.ao.quantization` finds layers by their exact type, sets their attribute `qconfig` (to None if they are not
    quantised), and then replaces them. `prepare_qat` replaces all. `quantize_dynamic` replaces only the types in its
    argument, so include those of Ranvier: `quantize_dynamic(net, {nn.Linear, ranvier.Linear})`. There is a warning for
    a layer whose type is missing. Subclasses are not replaced; this is also true for subclasses of torch's layers.
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

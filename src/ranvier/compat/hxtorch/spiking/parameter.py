"""Parameters with a value for the model and one for the hardware."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class HXParameter(nn.Module):
    """One value for model and hardware: `hardware_value` and `model_value` are the same object."""

    def __init__(self, hardware_value: Any = None):
        super().__init__()
        self._value, self._set_on_chip, self._trainable = hardware_value, None, False

    @property
    def hardware_value(self) -> Any:
        return self._value

    @hardware_value.setter
    def hardware_value(self, value: Any) -> None:
        self._value = value

    @property
    def model_value(self) -> Any:
        return self._value

    def make_trainable(self, set_on_chip_func: Callable | None = None) -> None:
        """Turn the value into an nn.Parameter, so that optimisers train it."""
        value = nn.Parameter(torch.as_tensor(self._value, dtype=torch.get_default_dtype()).clone())
        del self._value
        self._value = value
        self._set_on_chip, self._trainable = set_on_chip_func, True

    def is_trainable(self) -> bool:
        return self._trainable

    def set_on_chip(self, chip: Any, coords: Any) -> None:
        """Pass the value to the chip with the function that was given to `make_trainable`."""
        if self._set_on_chip is None:
            raise ValueError(
                "set_on_chip: pass the function that writes to the chip to make_trainable(set_on_chip_func=...)"
            )
        self._set_on_chip(self.hardware_value, chip, coords)


class ModelParameter(HXParameter):
    """A value of the model, used for the hardware too: setting `hardware_value` has no effect, as in the original."""

    @property
    def hardware_value(self) -> Any:
        return self._value

    @hardware_value.setter
    def hardware_value(self, value: Any) -> None:
        pass

    @property
    def model_value(self) -> Any:
        return self._value

    @model_value.setter
    def model_value(self, value: Any) -> None:
        self._value = value


class MixedHXModelParameter(HXParameter):
    """Two independent values, one for the model and one for the hardware."""

    def __init__(self, model_value: Any, hardware_value: Any):
        super().__init__(model_value)
        self._hardware = hardware_value

    @property
    def hardware_value(self) -> Any:
        return self._hardware

    @hardware_value.setter
    def hardware_value(self, value: Any) -> None:
        self._hardware = value

    @property
    def model_value(self) -> Any:
        return self._value

    @model_value.setter
    def model_value(self, value: Any) -> None:
        self._value = value


class HXTransformedModelParameter(ModelParameter):
    """The value for the hardware is a function of the value for the model."""

    def __init__(self, model_value: Any, func: Callable[[Any], Any]):
        super().__init__(model_value)
        self._func = func

    @property
    def hardware_value(self) -> Any:
        return self._func(self._value)

    @hardware_value.setter
    def hardware_value(self, value: Any) -> None:
        pass


def wrapped(value: Any) -> HXParameter:
    """Return a number as a parameter; return parameters unchanged."""
    return value if isinstance(value, HXParameter) else HXParameter(value)

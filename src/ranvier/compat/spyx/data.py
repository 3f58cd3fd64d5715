"""Spyx's loaders, and its data functions, each of which returns a function of a tensor."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ranvier.compat.spyx.keys import Key, generator
from ranvier.compat.spyx.loaders import MNIST_loader, NMNIST_loader, SHD_loader, State
from ranvier.data import augment, encode, packed

__all__ = [
    "AngleCode", "LatencyCode", "MNIST_loader", "NMNIST_loader", "RateCode", "SHD_loader", "ShiftAugment", "State",
    "angle_code", "latency_code", "rate_code", "shift_augment", "shuffler",
]  # fmt: skip


def shift_augment(max_shift: int = 10, axes: Sequence[int] = (-1,)) -> Callable[..., Tensor]:
    """(data, rng) -> data rolled along each axis, all samples together. Unlike in Spyx, shifts are uniform from -max to
    +max.
    """
    return lambda data, rng=None: augment.shift(data, max_shift, axes, generator(rng), wrap=True)


def shuffler(dataset: tuple[Tensor, Tensor], batch_size: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """((x, y), rng) -> x and y, shuffled and divided into batches. x and y are the whole data set."""
    shuffle = packed.shuffler(batch_size)
    return lambda dataset, rng=None: shuffle(*dataset, generator(rng))


def rate_code(num_steps: int, max_r: float = 0.75, time_axis: int = 1) -> Callable[..., Tensor]:
    """(data in [0, 1], rng) -> uint8 spikes with probability data * max_r, with time at `time_axis`: [B, F] -> [B, T,
    F].

    As in Spyx, if data has three or more axes and the axis `time_axis` has length 1, this axis becomes the time axis:
    [B, 1, F] -> [B, T, F].
    """

    def code(data: Tensor, rng: Key = None) -> Tensor:
        data = data if data.is_floating_point() else data.to(torch.float32)
        if data.dim() > 2 and data.shape[time_axis] == 1:
            data = data.squeeze(time_axis)
        return encode.rate(data, num_steps, max_r, generator(rng)).movedim(0, time_axis).to(torch.uint8)

    return code


def angle_code(neuron_count: int, min_val: float, max_val: float) -> Callable[[Tensor], Tensor]:
    """(data) -> a one-hot code of each value, float32, on a new last axis of neuron_count values from min_val to
    max_val.
    """
    return lambda obs: encode.angle(obs, neuron_count, min_val, max_val)


def latency_code(num_steps: int, threshold: float = 0.01) -> Callable[[Tensor], Tensor]:
    """(data, clamped to [0, 1]) -> uint8 spikes [T, ...], which come earlier for larger values; no spike at or below
    the threshold.
    """
    return lambda data: encode.latency(data.clamp(0.0, 1.0), num_steps, threshold).to(torch.uint8)


class _Transform:
    def __init__(self, code: Callable[..., Any], input_key: str, output_key: str):
        self.code, self.input_key, self.output_key = code, input_key, output_key

    def map(self, record: dict) -> dict:
        """Return the record with the encoded `input_key` in its `output_key`."""
        return {**record, self.output_key: self.code(torch.as_tensor(record[self.input_key], dtype=torch.float32))}


class RateCode(_Transform):
    """Encode a record by `rate_code`, with time first and eight steps packed into one byte."""

    def __init__(self, sample_T: int, max_r: float = 0.75, input_key: str = "obs", output_key: str = "obs"):
        super().__init__(lambda x: packed.pack(encode.rate(x, sample_T, max_r)), input_key, output_key)


class LatencyCode(_Transform):
    """Encode a record by `latency_code`, with eight steps packed into one byte."""

    def __init__(self, sample_T: int, threshold: float = 0.01, input_key: str = "obs", output_key: str = "obs"):
        code = latency_code(sample_T, threshold)
        super().__init__(lambda x: packed.pack(code(x)), input_key, output_key)


class AngleCode(_Transform):
    """Encode a record by `angle_code`, as uint8."""

    def __init__(
        self, neuron_count: int, min_val: float, max_val: float, input_key: str = "obs", output_key: str = "obs"
    ):
        code = angle_code(neuron_count, min_val, max_val)
        super().__init__(lambda x: code(x).to(torch.uint8), input_key, output_key)


class ShiftAugment(_Transform):
    """Shift a record by `shift_augment`."""

    def __init__(self, max_shift: int = 10, axes: Sequence[int] = (-1,), input_key: str = "obs"):
        super().__init__(shift_augment(max_shift, axes), input_key, input_key)

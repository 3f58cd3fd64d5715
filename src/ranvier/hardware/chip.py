"""A simulated analog chip: six-bit weights, neurons that differ from each other, and a noisy converter."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ranvier.hardware.clamp import LARGEST, six_bits
from ranvier.hardware.substrate import Record
from ranvier.nn.neurons.physical import PhysicalLI, PhysicalLIF

REST, THRESHOLD = 80.0, 150.0  # in units of the converter, without mismatch
GAIN = 1.4  # effect of a weight of 1 on the synaptic current, in units of the converter, without mismatch


class SimulatedChip:
    """A chip with layers of analog neurons as a `ranvier.hardware.Substrate`; its true parameters are hidden.

    sizes: neurons per layer, inputs first; the last layer does not fire (a readout). tau_mem, tau_syn and dt in
    seconds. Every time constant, resting level, threshold and single synapse has a fixed random deviation, normal with
    the relative standard deviation `mismatch` (for levels: relative to threshold minus rest). Weights are whole numbers
    within +-63; excitatory and inhibitory rows are separate, each with its own deviations. The membrane is read by a
    converter with the range [0, 2^bits - 1], where it saturates; the converter adds normal noise with the standard
    deviation `noise` (in units of the converter), drawn again at every run. `seed` determines the chip: the same seed
    gives the same chip.

    >>> import torch, ranvier
    >>> chip = ranvier.hardware.SimulatedChip([2, 3, 1], seed=1)
    >>> chip.write([torch.full((3, 2), 40.0), torch.full((1, 3), 10.0)])
    >>> hidden, readout = chip.run(torch.ones(20, 1, 2))
    >>> hidden.spikes.shape, readout.spikes is None
    (torch.Size([20, 1, 3]), True)
    """

    def __init__(
        self, sizes: Sequence[int], *, tau_mem: float = 6e-6, tau_syn: float = 6e-6, dt: float = 1e-6,
        mismatch: float = 0.2, noise: float = 1.0, bits: int = 8, seed: int = 0,
    ):  # fmt: skip
        if len(sizes) < 2 or not 0.0 <= mismatch < 0.5 or noise < 0 or not 1 <= bits <= 16:
            raise ValueError(
                f"SimulatedChip: wanted at least 2 sizes, mismatch in [0, 0.5), noise >= 0 and 1 to 16 bits, "
                f"got {sizes}, {mismatch}, {noise}, {bits}"
            )
        self.sizes, self.dt, self.noise, self.top = list(sizes), dt, noise, 2.0**bits - 1
        pattern = torch.Generator().manual_seed(seed)
        self.layers = [
            _Layer(self, before, after, tau_mem, tau_syn, mismatch, k < len(sizes) - 2, pattern)
            for k, (before, after) in enumerate(itertools.pairwise(sizes))
        ]

    def write(self, weights: Sequence[Tensor]) -> None:
        """Set the weights: one [out, in] per layer, in units of the chip; they are rounded, and saturate at +-63."""
        if [tuple(w.shape) for w in weights] != [(b, a) for a, b in zip(self.sizes, self.sizes[1:], strict=False)]:
            raise ValueError(f"SimulatedChip of sizes {self.sizes} got weights {[tuple(w.shape) for w in weights]}")
        for layer, weight in zip(self.layers, weights, strict=True):
            layer.write(weight)

    @torch.no_grad()
    def run(self, spikes: Tensor) -> list[Record]:
        """Run the chip on spikes [T, B, inputs] and return the recordings of all layers."""
        records = []
        for layer in self.layers:
            record = layer.run(spikes)
            records.append(record)
            spikes = record.spikes if record.spikes is not None else spikes
        return records


class _Layer:
    """One layer of the chip with its synapses; `calibrate` measures each layer separately."""

    def __init__(
        self, chip: SimulatedChip, before: int, after: int, tau_mem: float, tau_syn: float, mismatch: float,
        fires: bool, pattern: torch.Generator,
    ):  # fmt: skip
        def deviating(value: float, *shape: int, relative_to: float | None = None) -> Tensor:
            off = torch.randn(*shape, generator=pattern).clamp(-3.0, 3.0) * mismatch
            return (value + (value if relative_to is None else relative_to) * off).clamp(min=0.1 * abs(value))

        span = THRESHOLD - REST
        self.chip, self.shape, self.fires = chip, (after, before), fires
        self.synapses = deviating(GAIN, 2, after, before)
        rest = deviating(REST, after, relative_to=span * 0.5)
        constants: dict[str, Any] = dict(
            tau_mem=deviating(tau_mem, after), tau_syn=deviating(tau_syn, after), dt=chip.dt, v_leak=rest, shape=after
        )
        if fires:
            self.neuron = PhysicalLIF(**constants, threshold=rest + deviating(span, after), v_reset=rest)
        else:
            self.neuron = PhysicalLI(**constants)
        self.write(torch.zeros(self.shape))

    def write(self, weight: Tensor) -> None:
        self.weight = torch.stack(six_bits(weight.detach().cpu().float()))

    @torch.no_grad()
    def run(self, spikes: Tensor) -> Record:
        excitation, inhibition = self.weight * self.synapses
        z, _, traces = self.neuron.run(spikes.float() @ (excitation - inhibition).T, None, ("v",))
        v = traces["v"]
        v = v + self.chip.noise * torch.randn(v.shape, dtype=v.dtype, device=v.device)
        return Record(z if self.fires else None, v.round().clamp(0.0, self.chip.top))


@dataclass(frozen=True)
class Calibration:
    """The conversion of one layer between chip and model. The weight on the chip is weight_scale times the weight of
    the model; the membrane of the model is trace_scale * (level - offset), with offset [neurons].
    """

    weight_scale: float
    trace_scale: float
    offset: Tensor

    def trace(self, levels: Tensor) -> Tensor:
        """Convert recorded levels [T, B, neurons] to the units of the model."""
        return (levels - self.offset) * self.trace_scale


def calibrate(
    chip: SimulatedChip, models: Sequence[PhysicalLIF | PhysicalLI], readout_scale: float = 20.0
) -> list[Calibration]:
    """Measure the conversion between chip and model, layer by layer. Only input and recordings are used, not the hidden
    parameters of the chip.

    offset: the mean level of each neuron without input. trace_scale of a spiking layer: the threshold of the model,
    divided by the highest recorded level above offset, just below the threshold of the chip. weight_scale: from
    the height of the response to one spike, on the chip and in the model. A layer that does not spike gets the weight
    scale `readout_scale`, and its trace scale is measured by that response. The weights of the chip are overwritten.
    """
    return [_calibrate(layer, model, readout_scale) for layer, model in zip(chip.layers, models, strict=True)]


def _calibrate(
    layer: _Layer, model: PhysicalLIF | PhysicalLI, readout_scale: float, steps: int = 60, weight: float = 20.0
) -> Calibration:
    out, into = layer.shape
    silence, at = torch.zeros(steps, 32, into, device="cpu"), torch.arange(32, device="cpu")
    layer.write(torch.zeros(out, into))
    offset = _level(layer, silence).mean((0, 1))  # [neurons]

    one = silence.clone()  # sample k has one spike on input k, so the deviations of synapses average out
    one[2, at, at % into] = 1.0
    layer.write(torch.full((out, into), weight))
    height = (_level(layer, one) - offset).mean(1).amax(0).median() / weight  # for a weight of 1

    reader = PhysicalLI(
        **{k: getattr(model, k).mean().item() for k in ("tau_syn", "c_mem", "g_leak")}, dt=model.settings["dt"]
    )
    with torch.no_grad():
        unit = reader(one[:, :1, :1].clone()).amax()  # the model's response to a unit weight
    if not layer.fires:
        return Calibration(readout_scale, float(unit / (height * readout_scale)), offset)

    span = _first_peak(layer, silence, offset).median()
    threshold: Any = model.threshold
    trace_scale = float(threshold.mean() / span)
    return Calibration(float(unit / (height * trace_scale)), trace_scale, offset)


def _level(layer: _Layer, spikes: Tensor) -> Tensor:
    return layer.run(spikes).voltage  # type: ignore[return-value]  # this chip records the membranes of every layer


def _first_peak(layer: _Layer, silence: Tensor, offset: Tensor) -> Tensor:
    """Return the highest level of each neuron for weak, regular input: it is just below the neuron's threshold."""
    spikes = silence.clone()
    spikes[::4, :, 0] = 1.0
    highest = torch.zeros(layer.shape[0], device="cpu")
    for drive in range(4, LARGEST + 1, 4):
        layer.write(torch.full(layer.shape, float(drive)))
        highest = torch.maximum(highest, (_level(layer, spikes) - offset).amax((0, 1)))
    return highest

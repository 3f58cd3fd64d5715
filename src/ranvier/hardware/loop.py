"""Training with a device in the loop: the device computes the forward pass, the model the derivatives."""

from collections.abc import Sequence

from torch import Tensor, nn

from ranvier.hardware.chip import Calibration
from ranvier.hardware.clamp import LARGEST
from ranvier.hardware.substrate import Substrate
from ranvier.nn.neurons.physical import Physical, measuring
from ranvier.nn.sequential import Sequential


class InTheLoop(nn.Module):
    """A model that runs on a substrate: its output has the values recorded on the device, and the model's gradients.

    model: a `ranvier.Sequential` of nn.Linear without bias and physical neurons, alternating. calibrations: one for
    each layer, as measured by `calibrate`. x: spikes [T, B, inputs]; the output has the shape of the model's output. At
    each call the weights are written to the device (scaled, rounded and saturated), the spikes are sent to it, and the
    recordings of every layer replace values of the model. `observe` names the recordings that are used: "z", the spikes
    of spiking layers, and "v", the membranes.

    >>> import torch, ranvier
    >>> from ranvier import hardware
    >>> model = ranvier.Sequential(
    ...     torch.nn.Linear(2, 3, bias=False), ranvier.PhysicalLIF(tau_mem=6e-6, tau_syn=6e-6, dt=1e-6),
    ...     torch.nn.Linear(3, 1, bias=False), ranvier.PhysicalLI(tau_mem=6e-6, tau_syn=6e-6, dt=1e-6),
    ... )
    >>> chip = hardware.SimulatedChip([2, 3, 1])
    >>> net = hardware.InTheLoop(model, chip, hardware.calibrate(chip, [model[1], model[3]]))
    >>> net(torch.ones(20, 1, 2)).shape
    torch.Size([20, 1, 1])
    """

    def __init__(
        self,
        model: Sequential,
        substrate: Substrate,
        calibrations: Sequence[Calibration],
        observe: Sequence[str] = ("z", "v"),
    ):
        super().__init__()
        self.neurons = [m for m in model if isinstance(m, Physical)]
        self.maps = [m for m in model if isinstance(m, nn.Linear)]
        if not len(self.neurons) == len(self.maps) == len(calibrations) or len(model) != 2 * len(self.maps):
            raise ValueError(
                f"InTheLoop: wanted nn.Linear and physical neurons in turn, and a calibration for each pair; got "
                f"{[type(m).__name__ for m in model]} and {len(calibrations)} calibrations"
            )
        if any(m.bias is not None for m in self.maps):
            raise ValueError("InTheLoop: a chip's synapses have no bias; create nn.Linear with bias=False")
        if unknown := set(observe) - {"z", "v"}:
            raise ValueError(f"InTheLoop: observe may contain 'z' and 'v', got {sorted(unknown)}")
        self.model, self.substrate, self.calibrations, self.observe = (
            model,
            substrate,
            list(calibrations),
            tuple(observe),
        )

    def forward(self, x: Tensor) -> Tensor:
        self.substrate.write(
            [c.weight_scale * m.weight.detach() for c, m in zip(self.calibrations, self.maps, strict=True)]
        )
        records = self.substrate.run(x)
        measured: dict[nn.Module, dict[str, Tensor]] = {}
        for neuron, record, calibration in zip(self.neurons, records, self.calibrations, strict=True):
            seen = {}
            if record.spikes is not None and "z" in self.observe:
                seen["z"] = record.spikes.to(x.dtype)
            if record.voltage is not None and ("v" in self.observe or record.spikes is None):
                seen["v"] = calibration.trace(record.voltage).to(x.dtype)
            measured[neuron] = seen
        with measuring(measured):
            return self.model(x)

    def saturated(self) -> list[float]:
        """Return the fraction of each layer's weights that are beyond the range of the device."""
        pairs = zip(self.calibrations, self.maps, strict=True)
        return [float((c.weight_scale * m.weight).abs().gt(LARGEST).float().mean()) for c, m in pairs]

"""The Yin-Yang figure in mock mode: a hidden layer of LIF neurons, a leaky readout, the highest membrane decides."""

from functools import partial

import torch
from torch.utils.data import DataLoader

import ranvier.compat.hxtorch as hxtorch
import ranvier.compat.hxtorch.spiking as hxsnn
from ranvier.compat.dlens_vx_v3 import halco
from ranvier.compat.hxtorch.spiking.datasets.yinyang import YinYangDataset
from ranvier.compat.hxtorch.spiking.transforms import weight_transforms
from ranvier.compat.hxtorch.spiking.transforms.decode import MaxOverTime
from ranvier.compat.hxtorch.spiking.transforms.encode import CoordinatesToSpikes

log = hxtorch.logger.get("yinyang")
TAU = 6e-6


class Net(torch.nn.Module):
    def __init__(self, inputs=5, hidden=120, outputs=3):
        super().__init__()
        self.experiment = hxsnn.Experiment(mock=True, dt=1e-6)
        transform = partial(weight_transforms.linear_saturating, scale=64.0)
        self.into = hxsnn.Synapse(inputs, hidden, experiment=self.experiment, transform=transform)
        self.lif = hxsnn.LIF(
            hidden, experiment=self.experiment, tau_mem=TAU, tau_syn=TAU, leak=hxsnn.MixedHXModelParameter(0.0, 80),
            membrane_capacitance=hxsnn.HXTransformedModelParameter(TAU, lambda value: value / TAU * 63),
            reset=hxsnn.MixedHXModelParameter(0.0, 80), threshold=hxsnn.MixedHXModelParameter(1.0, 150),
            i_synin_gm=500, synapse_dac_bias=1000, trace_scale=1 / 50, cadc_time_shift=1, shift_cadc_to_first=True,
            enable_cadc_recording=False,
        )  # fmt: skip
        self.out = hxsnn.Synapse(hidden, outputs, experiment=self.experiment, transform=transform)
        place = [
            halco.LogicalNeuronOnDLS(
                hxsnn.morphology.SingleCompartmentNeuron(1).compartments,
                halco.AtomicNeuronOnDLS(halco.NeuronRowOnDLS(1), halco.NeuronColumnOnDLS(column)),
            )
            for column in range(outputs)
        ]
        self.li = hxsnn.LI(
            outputs, experiment=self.experiment, tau_mem=TAU, tau_syn=TAU, leak=hxsnn.MixedHXModelParameter(0.0, 80),
            i_synin_gm=500, synapse_dac_bias=1000, trace_scale=1 / 50, cadc_time_shift=1, shift_cadc_to_first=True,
            placement_constraint=place,
        )  # fmt: skip
        torch.nn.init.normal_(self.into.weight, 0.8, 0.25)
        torch.nn.init.normal_(self.out.weight, 0.0, 0.1)

    def forward(self, spikes):
        self.hidden = self.lif(self.into(hxsnn.LIFObservables(spikes=spikes)))
        readout = self.li(self.out(self.hidden))
        hxsnn.run(self.experiment, spikes.shape[0])
        return readout.membrane_cadc


def main(steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    encode = CoordinatesToSpikes(seq_length=38, t_early=2e-6, t_late=26e-6, dt=1e-6, t_bias=2e-6)
    batches = iter(DataLoader(YinYangDataset(size=50 * steps, seed=42), batch_size=50))
    net, decode, criterion = Net(), MaxOverTime(), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    losses = []
    for points, classes in batches:
        scores = decode(net(encode(points)))
        loss = criterion(scores, classes) + 4e-4 * (scores**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        log.info(f"{losses[-1]:.4f}, {net.hidden.spikes.sum() / 50:.1f} spikes")
    return losses

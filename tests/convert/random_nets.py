"""Random networks of the layers that NIR can say, and sequences that make them spike."""

import random

import torch
from torch import nn

import ranvier as rv


def _decay(r: random.Random) -> float:
    return r.choice([0.05, 0.31, 0.5, 0.77, 0.9, 0.95, 0.997])


def _own(r: random.Random, shape, low, high):
    """One number for all neurons, or one for each."""
    if r.random() < 0.5:
        return r.uniform(low, high)
    return torch.rand(shape) * (high - low) + low


NEURONS = {
    "LIF": lambda r, s: rv.LIF(beta=_own(r, s, 0.05, 0.99), threshold=_own(r, s, 0.5, 1.5), reset="zero"),
    "IF": lambda r, s: rv.IF(threshold=_own(r, s, 0.5, 1.5), reset="zero"),
    "LI": lambda r, s: rv.LI(beta=r.choice([_decay(r), 1.0])),
    "CubaLIF": lambda r, s: rv.CubaLIF(
        alpha=_own(r, s, 0.05, 0.9), beta=_own(r, s, 0.05, 0.95), threshold=_own(r, s, 0.5, 1.5), reset="zero"
    ),
    "CubaLI": lambda r, s: rv.CubaLI(alpha=_decay(r), beta=_decay(r)),
    "RestLIF": lambda r, s: rv.RestLIF(
        leak=_own(r, s, 0.05, 0.9), rest=r.choice([0.0, -0.3]), decay_input=r.random() < 0.5
    ),
    "soft LIF": lambda r, s: rv.LIF(beta=_own(r, s, 0.05, 0.99)),
    "soft CubaLIF": lambda r, s: rv.CubaLIF(alpha=_decay(r), beta=_decay(r)),
    "Heaviside": lambda r, s: rv.Heaviside(threshold=_own(r, s, 0.2, 0.6)),
    "Delay": lambda r, s: rv.Delay(torch.randint(0, 4, s)),
}


class Residual(nn.Module):
    """Two ways that meet."""

    def __init__(self, one: nn.Module, two: nn.Module):
        super().__init__()
        self.one, self.two = one, two

    def forward(self, x):
        y = self.one(x)
        return self.two(y) + y


def _flat(r: random.Random, width: int, count: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = []
    for _ in range(count):
        out = r.randint(2, 9)
        linear = r.choice([nn.Linear, rv.Linear])(width, out, bias=r.random() < 0.7)
        nn.init.normal_(linear.weight, std=1.2 * width**-0.5)
        layers.append(linear)
        neuron = NEURONS[r.choice([*NEURONS])](r, (out,))
        if isinstance(neuron, rv.Neuron) and neuron.spiking and neuron.states and r.random() < 0.4:
            layers.append(rv.Recurrent(neuron, out))
        elif r.random() < 0.15:
            one = rv.Sequential(neuron, nn.Linear(out, out))
            layers.append(Residual(one, rv.LIF(reset="zero")))
        else:
            layers.append(neuron)
        width = out
    return layers, width


def random_net(seed: int) -> tuple[nn.Module, torch.Tensor]:
    """A network, and a sequence of 200 steps for it."""
    torch.manual_seed(seed)
    r = random.Random(seed)
    if r.random() < 0.4:
        channels, size = r.randint(1, 3), r.randint(6, 9)
        made = r.randint(2, 4)
        conv = r.choice([nn.Conv2d, rv.Conv2d])
        kernel = (r.randint(1, 3), r.randint(1, 3))
        layers: list[nn.Module] = [conv(channels, made, kernel, padding=r.randint(0, 1), stride=r.randint(1, 2))]
        with torch.no_grad():
            shape = tuple(layers[0](torch.zeros(1, channels, size, size)).shape[1:])
        layers.append(NEURONS[r.choice(["LIF", "IF", "CubaLIF", "RestLIF", "soft LIF"])](r, shape))
        layers.append(r.choice([nn.AvgPool2d(2, padding=r.randint(0, 1)), rv.SumPool(2), nn.Identity()]))
        layers.append(nn.Flatten())
        with torch.no_grad():
            width = nn.Sequential(layers[2], layers[3])(torch.zeros(1, *shape)).shape[1]
        rest, _ = _flat(r, width, r.randint(1, 2))
        x = torch.rand(200, 2, channels, size, size) * 2
        return rv.Sequential(*layers, *rest), x
    width = r.randint(2, 9)
    layers, _ = _flat(r, width, r.randint(1, 4))
    return rv.Sequential(*layers), (torch.rand(200, 2, width) < 0.4).float() * 2

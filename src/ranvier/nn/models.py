"""Ready-made networks: x [T, B, C, H, W] -> the membrane of the readout [T, B, classes]."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.norm import ThresholdBatchNorm2d
from ranvier.nn.sequential import Sequential
from ranvier.nn.transformer import SpikeDrivenSelfAttention, SpikingSelfAttention

MakeNeuron = Callable[[], nn.Module]


def vgg(
    channels: int = 1,
    classes: int = 10,
    widths: Sequence[int] = (32, 64, 128, 128),
    neuron: MakeNeuron = LIF,
    halve: int = 2,
    side: int = 0,
) -> Sequential:
    """Return a chain of convolutions, each followed by a threshold-dependent norm and a neuron. After every `halve`-th
    convolution except the last, a pool halves the height and the width of the images.

    side: height and width of the input; the readout then reads every position of the last layer. 0: images of any
    size; it reads the mean over the positions.

    >>> import torch, ranvier
    >>> ranvier.models.vgg(widths=(4, 4))(torch.rand(2, 1, 1, 8, 8)).shape
    torch.Size([2, 1, 10])
    """
    layers: list[nn.Module] = []
    left = side // 2 ** ((len(widths) - 1) // halve)  # of the side, after all pools
    if side and left < 1:
        raise ValueError(
            f"vgg: the pools leave nothing of images with side={side}; take a larger halve or fewer widths"
        )
    for k, width in enumerate(widths):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), ThresholdBatchNorm2d(width), neuron()]
        layers += [nn.MaxPool2d(2)] if (k + 1) % halve == 0 and k + 1 < len(widths) else []
        channels = width
    if side:
        channels *= left**2
    else:
        layers.append(nn.AdaptiveAvgPool2d(1))
    return Sequential(*layers, nn.Flatten(), nn.Linear(channels, classes), LI())


class Residual(nn.Module):
    """Spike-element-wise residual block: two convolutions with norm and neuron, whose spikes are added to the input
    spikes.

    x [T, B, in_channels, H, W] -> [T, B, out_channels, H / stride, W / stride]. Fang et al., NeurIPS 2021.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, neuron: MakeNeuron = LIF):
        super().__init__()

        def stage(width: int, size: int, step: int) -> Sequential:
            return Sequential(
                nn.Conv2d(width, out_channels, size, step, size // 2, bias=False),
                nn.BatchNorm2d(out_channels),
                neuron(),
            )

        self.path = Sequential(stage(in_channels, 3, stride), stage(out_channels, 3, 1))
        self.short = nn.Identity() if stride == 1 and in_channels == out_channels else stage(in_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.path(x) + self.short(x)


def sew_resnet18(channels: int = 3, classes: int = 10, width: int = 64, neuron: MakeNeuron = LIF) -> Sequential:
    """Return the spike-element-wise residual network of 18 layers, for small images. Fang et al., NeurIPS 2021.

    >>> import torch, ranvier
    >>> ranvier.models.sew_resnet18(channels=1, width=4)(torch.rand(2, 1, 1, 8, 8)).shape
    torch.Size([2, 1, 10])
    """
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), neuron()]
    inputs = width
    for k in range(4):
        outputs = width * 2**k
        layers += [Residual(inputs, outputs, 1 if k == 0 else 2, neuron), Residual(outputs, outputs, 1, neuron)]
        inputs = outputs
    return Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes), LI())


class SpikeDrivenBlock(nn.Module):
    """Spike-driven attention, then a spike-driven network of two layers, both with a residual connection; x [T, B, C,
    H, W] are membranes.
    """

    def __init__(self, features: int, heads: int, hidden: int, neuron: MakeNeuron = LIF):
        super().__init__()
        self.attention = SpikeDrivenSelfAttention(features, heads)
        self.mix = Sequential(
            neuron(), nn.Conv2d(features, hidden, 1, bias=False), nn.BatchNorm2d(hidden),
            neuron(), nn.Conv2d(hidden, features, 1, bias=False), nn.BatchNorm2d(features),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x)
        return x + self.mix(x)


def spike_driven(
    channels: int = 1, classes: int = 10, features: int = 64, heads: int = 4, blocks: int = 1, neuron: MakeNeuron = LIF
) -> Sequential:
    """Return a small spike-driven transformer: two convolutions that each halve height and width, some
    `SpikeDrivenBlock`s, the mean over positions, and a readout.

    >>> import torch, ranvier
    >>> ranvier.models.spike_driven(features=8, heads=2)(torch.rand(2, 1, 1, 8, 8)).shape
    torch.Size([2, 1, 10])
    """
    return Sequential(
        nn.Conv2d(channels, features // 2, 3, padding=1, bias=False), nn.BatchNorm2d(features // 2), neuron(),
        nn.MaxPool2d(2), nn.Conv2d(features // 2, features, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(features), *(SpikeDrivenBlock(features, heads, 2 * features, neuron) for _ in range(blocks)),
        neuron(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes), LI(),
    )  # fmt: skip


class SpikformerBlock(nn.Module):
    """Spiking self-attention, then a spiking network of two layers, both with a residual connection: x [T, B, C, L],
    for L tokens.
    """

    def __init__(self, features: int, heads: int, hidden: int, neuron: MakeNeuron = LIF):
        super().__init__()
        self.attention = SpikingSelfAttention(features, heads)
        self.mix = Sequential(
            nn.Conv1d(features, hidden, 1, bias=False), nn.BatchNorm1d(hidden), neuron(),
            nn.Conv1d(hidden, features, 1, bias=False), nn.BatchNorm1d(features), neuron(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mix(x)


class Spikformer(nn.Module):
    """A small Spikformer: convolutions that compute the tokens, some `SpikformerBlock`s, the mean over tokens, and a
    readout. Zhou et al., ICLR 2023.

    >>> import torch, ranvier
    >>> ranvier.models.Spikformer(features=8, heads=2)(torch.rand(2, 1, 1, 8, 8)).shape
    torch.Size([2, 1, 10])
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 10,
        features: int = 64,
        heads: int = 4,
        blocks: int = 1,
        neuron: MakeNeuron = LIF,
    ):
        super().__init__()
        self.tokens = Sequential(
            nn.Conv2d(channels, features // 2, 3, padding=1, bias=False), nn.BatchNorm2d(features // 2), neuron(),
            nn.MaxPool2d(2), nn.Conv2d(features // 2, features, 3, padding=1, bias=False), nn.BatchNorm2d(features),
            neuron(), nn.MaxPool2d(2), nn.Flatten(2),
        )  # fmt: skip
        self.blocks = Sequential(*(SpikformerBlock(features, heads, 2 * features, neuron) for _ in range(blocks)))
        self.readout = Sequential(nn.Linear(features, classes), LI())

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.blocks(self.tokens(x)).mean(-1))

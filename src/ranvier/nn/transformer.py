"""Self-attention without softmax, for spikes. With spikes it needs no multiplications, only additions.

Each of these layers consists of plain layers and neurons; its state is the states of its neurons.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ranvier.nn.neurons.parametric import RestLIF
from ranvier.nn.sequential import fold
from ranvier.nn.temporal import check_sequence

MakeNeuron = Callable[[float], nn.Module]


def lif(threshold: float) -> nn.Module:
    """Return the neuron of the papers: a time constant of two steps, reset to zero, no gradient through the reset."""
    return RestLIF(leak=0.5, threshold=threshold, reset="zero", detach_reset=True)


class _Attention(nn.Module):
    """Base of attention layers: it divides `features` into `heads` groups, and checks the layout of x."""

    layout: str

    def __init__(self, features: int, heads: int, neuron: MakeNeuron):
        super().__init__()
        if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1 or features % heads:
            raise ValueError(f"{type(self).__name__}: features={features} must be a multiple of heads, got {heads!r}")
        self.features, self.heads, self.make = features, heads, neuron

    def check(self, x: Tensor) -> None:
        axes = self.layout.count(",") + 1
        if isinstance(x, Tensor) and (x.dim() != axes or x.shape[2] != self.features):
            wanted = self.layout.replace("C", str(self.features))
            raise ValueError(f"{type(self).__name__}: input must be {wanted}, got shape {tuple(x.shape)}")
        check_sequence(self, x)

    def extra_repr(self) -> str:
        return f"features={self.features}, heads={self.heads}"


def _projection(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs))


class SpikingSelfAttention(_Attention):
    """Spiking self-attention, as in Spikformer.

    q, k, v = neuron(norm(W x));  a = neuron(scale (v k^T) q, threshold 1/2), in heads;  y = neuron(norm(W' a)).

    x [T, B, C, L], L tokens of C features -> y of the same shape. C must be a multiple of heads. neuron: a
    function from a threshold to a neuron. Zhou et al., Spikformer: when spiking neural network meets transformer,
    ICLR 2023.

    >>> import torch, ranvier
    >>> ranvier.SpikingSelfAttention(8, heads=2)(torch.rand(4, 2, 8, 5)).shape
    torch.Size([4, 2, 8, 5])
    """

    layout = "[T, B, C, L]"

    def __init__(self, features: int = 8, heads: int = 2, *, scale: float = 0.125, neuron: MakeNeuron = lif):
        super().__init__(features, heads, neuron)
        self.scale = scale
        self.qkv, self.project = _projection(features, 3 * features), _projection(features, features)
        self.qkv_neuron, self.attention_neuron, self.project_neuron = neuron(1.0), neuron(0.5), neuron(1.0)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        spikes = self.qkv_neuron(fold(self.qkv, x))
        q, k, v = spikes.unflatten(2, (3, self.heads, -1)).unbind(2)  # [T, B, heads, C / heads, L] each
        mixed = v @ k.transpose(-2, -1) @ q * self.scale
        attended = self.attention_neuron(mixed).flatten(2, 3)
        return self.project_neuron(fold(self.project, attended))


KINDS = {"token": 3, "channel": 4}  # the axis of [T, B, heads, C / heads, L] that is summed


class QKAttention(_Attention):
    """Query-key attention, linear in the number of tokens.

    q, k = neuron(norm(W x));  a = neuron(sum of q, threshold 1/2);  y = neuron(norm(W' (a k))). The sum is over the
    features of a head (kind="token": which tokens matter) or over the tokens (kind="channel": which features matter).

    x [T, B, C, L] -> y of the same shape. C must be a multiple of heads. Zhou et al., QKFormer: hierarchical spiking
    transformer using Q-K attention, NeurIPS 2024.

    >>> import torch, ranvier
    >>> ranvier.QKAttention(8, heads=2, kind="channel")(torch.rand(4, 2, 8, 5)).shape
    torch.Size([4, 2, 8, 5])
    """

    layout = "[T, B, C, L]"

    def __init__(self, features: int = 8, heads: int = 2, *, kind: str = "token", neuron: MakeNeuron = lif):
        super().__init__(features, heads, neuron)
        if kind not in KINDS:
            raise ValueError(f"QKAttention: kind must be one of {list(KINDS)}, got {kind!r}")
        self.kind = kind
        self.qk, self.project = _projection(features, 2 * features), _projection(features, features)
        self.qk_neuron, self.attention_neuron, self.project_neuron = neuron(1.0), neuron(0.5), neuron(1.0)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        spikes = self.qk_neuron(fold(self.qk, x))
        q, k = spikes.unflatten(2, (2, self.heads, -1)).unbind(2)
        attended = self.attention_neuron(q.sum(KINDS[self.kind], keepdim=True)) * k
        return self.project_neuron(fold(self.project, attended.flatten(2, 3)))


def _convolution(features: int, bias: bool) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(features, features, 1, bias=bias), nn.BatchNorm2d(features))


class SpikeDrivenSelfAttention(_Attention):
    """Spike-driven self-attention with a residual connection: it needs only masks and additions.

    s = neuron(x);  q, k, v = neuron(norm(W s));  a = neuron(sum over tokens of k v, threshold 1/2);
    y = norm(W' (q a)) + x.

    x [T, B, C, H, W], real-valued membranes -> y of the same shape. C must be a multiple of heads. Yao et al.,
    Spike-driven transformer, NeurIPS 2023.

    >>> import torch, ranvier
    >>> ranvier.SpikeDrivenSelfAttention(8, heads=2)(torch.rand(4, 2, 8, 5, 5)).shape
    torch.Size([4, 2, 8, 5, 5])
    """

    layout = "[T, B, C, H, W]"

    def __init__(self, features: int = 8, heads: int = 2, *, neuron: MakeNeuron = lif):
        super().__init__(features, heads, neuron)
        self.shortcut_neuron, self.attention_neuron = neuron(1.0), neuron(0.5)
        self.q, self.k, self.v = (_convolution(features, bias=False) for _ in range(3))
        self.q_neuron, self.k_neuron, self.v_neuron = (neuron(1.0) for _ in range(3))
        self.project = _convolution(features, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        spikes = self.shortcut_neuron(x)
        q = self.q_neuron(fold(self.q, spikes))
        kv = self.k_neuron(fold(self.k, spikes)) * self.v_neuron(fold(self.v, spikes))
        attended = self.attention_neuron(torch.sum(kv, (3, 4), keepdim=True))  # [T, B, C, 1, 1]
        return fold(self.project, q * attended) + x

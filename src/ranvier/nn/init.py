"""Initial weights with which a deep spiking network is neither silent nor saturated before training.

The usual initialisers are made for real-valued activations. With spiking neurons, the layer is then often silent (no
spikes, no gradient) or spikes at every step.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn import verbs
from ranvier.nn.neuron import Neuron
from ranvier.nn.recurrent import Recurrent
from ranvier.surrogate import Surrogate

# For each slower state in `recurrent`: its time constant as a multiple of that of the membrane.
SPREAD = {"beta": 1.0, "rho": 3.0}


def spread(neurons: int, shortest: float, longest: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw decays per step [neurons] whose time constants lie between `shortest` and `longest` steps, uniformly
    distributed on a logarithmic scale.

    >>> import torch, ranvier
    >>> beta = ranvier.init.spread(100, 5.0, 200.0)
    >>> bool((-1 / beta.log() >= 5 * 0.999).all() and (-1 / beta.log() <= 200 * 1.001).all())
    True
    """
    if not 0 < shortest <= longest < math.inf:
        raise ValueError(f"spread: wanted 0 < shortest <= longest in steps, got {shortest!r} and {longest!r}")
    return torch.exp(-1.0 / (shortest * (longest / shortest) ** torch.rand(neurons, generator=generator)))


def recurrent(
    kind: type[Neuron], neurons: int, *, shortest: float = 5.0, longest: float = 200.0, detach_feedback: bool = True,
    generator: torch.Generator | None = None, **given: Any,
) -> Recurrent:  # fmt: skip
    """Return a recurrent layer that can be trained over thousands of steps: each neuron has its own time constant, and
    no gradient goes through the recurrent loop, where it could grow without limit.

    kind: the class of the neurons. The parameters of a class with a method `published` (SEAdLIF, SiLIF, BRF, BHRF) are
    drawn by this method. LIF, ALIF and others with a decay per step `beta` get membrane time constants from `shortest`
    to `longest` steps, uniformly distributed on a logarithmic scale. Time constants of the adaptation (`rho`) are three
    times as long. given: further arguments of the neuron, such as learn=("beta",); parameters that are given here are
    not drawn. The feedback weight is orthogonal, and each row is multiplied by 1 - beta: a neuron that sums over many
    steps gets a small input at each step. detach_feedback: no gradient flows through the spikes that return (see
    `Recurrent`); the option `detach_reset` of the neuron, if it has one, is also set. The page on long sequences shows
    the effect of each of these choices.

    >>> import torch, ranvier
    >>> layer = ranvier.init.recurrent(ranvier.ALIF, 16, longest=500.0)
    >>> layer(torch.rand(10, 2, 16)).shape
    torch.Size([10, 2, 16])
    """
    draws = getattr(kind, "published", None)
    decays = {k: times for k, times in SPREAD.items() if k in getattr(kind, "params", {})}
    if not (isinstance(kind, type) and issubclass(kind, Neuron)) or not (draws or "beta" in decays):
        raise TypeError(
            f"init.recurrent: kind must be a class of neurons with a decay per step `beta` or with `published`, such "
            f"as LIF, ALIF, SEAdLIF or BRF, got {kind!r}; for another, build the neuron and pass it to Recurrent"
        )
    if isinstance(neurons, bool) or not isinstance(neurons, int) or neurons < 1:
        raise ValueError(f"init.recurrent: neurons must be a whole number above 0, got {neurons!r}")
    said = {*given, *(kind.times[k].of for k in given if k in kind.times)}  # a time constant sets its decay
    own = {"detach_reset": True} if "detach_reset" in kind.options else {}
    if draws:
        neuron = draws(neurons, generator=generator, **{**own, **given})
    else:
        drawn = {
            k: spread(neurons, times * shortest, times * longest, generator)
            for k, times in decays.items() if k not in said
        }  # fmt: skip
        neuron = kind(**{"shape": neurons, **own, **drawn, **given})
    layer = Recurrent(neuron, neurons, detach_feedback=detach_feedback)
    leak = 1.0 if draws else 1.0 - torch.as_tensor(neuron.beta).detach().expand(neurons).unsqueeze(1)
    with torch.no_grad():
        nn.init.orthogonal_(layer.feedback.weight, generator=generator)  # type: ignore[arg-type]
        layer.feedback.weight.mul_(leak)  # type: ignore[operator]
    return layer


def fluctuation_driven_(
    weight: Tensor, rate: float, beta: float, *, alpha: float = 0.0, threshold: float = 1.0, xi: float = 2.0
) -> Tensor:
    """Draw weights in place such that the membrane fluctuates around 0, and the threshold is `xi` standard deviations
    above 0.

    weight [outputs, inputs, ...]: the fan-in is the product of all axes except the first. rate: mean number of spikes
    per input and step. beta, alpha: decays per step of the membrane and of the current of the next neuron (alpha = 0:
    no current). The variance of the membrane over time is fan_in rate E[w^2] sum of kernel^2, where kernel is the
    response of the membrane to one spike. xi between 1 and 3 works best. Rossbroich, Gygax & Zenke, Fluctuation-driven
    initialization for spiking neural network training, 2022.

    >>> import torch, ranvier
    >>> w = ranvier.init.fluctuation_driven_(torch.empty(64, 400), rate=0.05, beta=0.9)
    >>> bool(0.04 < w.std() < 0.06)
    True
    """
    for name, value, low, high in (("rate", rate, 0.0, math.inf), ("beta", beta, 0.0, 1.0), ("alpha", alpha, 0.0, 1.0)):
        if not low <= value < high or (name == "rate" and value == 0):
            raise ValueError(f"fluctuation_driven_: {name} must be above {low:g} and below {high:g}, got {value!r}")
    fan_in = math.prod(weight.shape[1:])
    with torch.no_grad():
        return weight.normal_(0.0, threshold / xi / math.sqrt(fan_in * rate * _energy(alpha, beta)))


def _energy(alpha: float, beta: float) -> float:
    """Return the sum over steps of the squared response of v = beta v + i, i = alpha i + x to one spike."""
    total, v, i = 0.0, 0.0, 1.0
    while True:
        v, before = beta * v + i, total
        total += v * v
        i *= alpha
        if total - before < 1e-9 * total and i < v:
            return total


def surrogate_aware_(weight: Tensor, surrogate: Surrogate, *, deviation: float = 0.5, threshold: float = 1.0) -> Tensor:
    """Draw weights in place such that gradients have about the same size in all layers.

    The variance is 1 / (fan_out E[g(u)^2]). Here g is the surrogate derivative, and u, the distance of the next
    neurons' membrane to threshold, is normal with mean -threshold and standard deviation `deviation`. weight [outputs,
    inputs, ...]. Rossbroich et al. 2022; Herranz-Celotti & Rouat, Stabilizing spiking neuron training, 2022.

    >>> import torch, ranvier
    >>> w = ranvier.init.surrogate_aware_(torch.empty(64, 100), ranvier.surrogate.atan(2.0))
    >>> bool(torch.isfinite(w).all())
    True
    """
    u = deviation * torch.linspace(-4.0, 4.0, 801) - threshold
    density = torch.softmax(-0.5 * torch.linspace(-4.0, 4.0, 801) ** 2, 0)
    gain = float((density * surrogate(u) ** 2).sum())
    fan_out = weight.shape[0] * math.prod(weight.shape[2:])
    with torch.no_grad():
        return weight.normal_(0.0, 1.0 / math.sqrt(fan_out * gain))


def calibrate_(net: nn.Module, x: Any, *, xi: float = 1.0, rounds: int = 3) -> dict[str, float]:
    """Scale the weights of a network in place, layer after layer, so that its neurons are neither silent nor saturated
    for the inputs x.

    For every spiking neuron, recurrent or not, the last layer with a weight before it is scaled such that the input of
    the neuron has a standard deviation of threshold / xi. x: a batch of inputs. Returns the share of steps with a
    spike, by layer. The method follows Mishkin & Matas, All you need is a good init, ICLR 2016.

    >>> import torch, ranvier
    >>> from torch import nn
    >>> net = ranvier.Sequential(nn.Linear(8, 32), ranvier.LIF(), nn.Linear(32, 4), ranvier.LIF())
    >>> rates = ranvier.init.calibrate_(net, torch.rand(16, 8, 8))
    >>> all(0.0 < rate < 1.0 for rate in rates.values())
    True
    """
    inside = {
        m for r in net.modules() if isinstance(r, Recurrent) for m in (*r.neuron.modules(), *r.feedback.modules())
    }
    seen: dict[nn.Module, float] = {}
    order: list[nn.Module] = []

    def watch(module: nn.Module, given: tuple) -> None:
        order.append(module)
        first = given[0][0] if isinstance(given[0], tuple) else given[0]
        seen[module] = float(first.detach().std())

    def weighted(module: nn.Module) -> bool:
        return isinstance(getattr(module, "weight", None), nn.Parameter)

    asked = [m for m in net.modules() if m not in inside and (_within(m) or weighted(m))]
    hooks = [m.register_forward_pre_hook(watch) for m in asked]
    was_training = net.training
    try:
        with torch.no_grad():
            done = 0
            while True:  # each pass scales the weights of one more neuron, in order
                order.clear()
                net(x)
                neurons = [k for k, m in enumerate(order) if (n := _within(m)) and n.spiking]
                if done == len(neurons):
                    break
                _scale(net, x, order, seen, neurons[done], xi, rounds)
                done += 1
            spikes = verbs.record(net, x, "z")
        firing = {p for p, m in net.named_modules() if m not in inside and (n := _within(m)) and n.spiking}
        return {path: float((z > 0).float().mean()) for path, z in spikes.items() if path in firing}
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()


def _within(layer: nn.Module) -> Neuron | None:
    """Return the neuron of a layer: the layer itself, or the neuron inside a recurrent layer."""
    found = layer.neuron if isinstance(layer, Recurrent) else layer
    return found if isinstance(found, Neuron) else None


def _scale(net: nn.Module, x: Any, order: list, seen: dict, at: int, xi: float, rounds: int) -> None:
    neuron = order[at]
    before = [m for m in order[:at] if not _within(m)]
    if not before:
        return
    threshold = float(torch.as_tensor(getattr(_within(neuron), "threshold", 1.0)).mean())
    for _ in range(rounds):
        net(x)
        if not seen[neuron] > 0:
            return
        before[-1].weight.mul_(threshold / xi / seen[neuron])

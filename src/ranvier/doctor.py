"""Find what is wrong with a spiking network: statistics of every layer in one forward and backward pass, with advice.

`diagnose` measures; CHECKS evaluate the measurements and give advice. To add a check, add a line there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ranvier.nn.padded import ends, masked, within
from ranvier.notebook import table
from ranvier.train.regularise import spiking_layers

ALWAYS = 0.9  # spikes per step above which a neuron counts as saturated


@dataclass(frozen=True)
class Vitals:
    """Statistics of one spiking layer over one batch.

    rate: spikes per neuron and step; silent: share of neurons without a spike in the whole batch; saturated: share of
    neurons that fire in more than 90 % of all steps; drift: rate in the last third of the steps divided by that in the
    first third; gradient: norm of the loss's gradient at the layer's input; through_time: that norm per step in the
    first third divided by that in the last third (None without a loss); depth: `gradient` divided by that of the last
    spiking layer; finite: whether the gradient has no NaN or inf.
    """

    path: str
    kind: str
    neurons: int
    rate: float
    silent: float
    saturated: float
    drift: float
    gradient: float | None = None
    through_time: float | None = None
    depth: float | None = None
    finite: bool = True


class Check(NamedTuple):
    """A possible problem of a layer. unwell: whether a layer has it; seen: what was measured; advice: what to do."""

    name: str
    unwell: Callable[[Vitals], bool]
    seen: str
    advice: str


def _has(value: float | None, test: Callable[[float], bool]) -> bool:
    return value is not None and not math.isnan(value) and test(value)


CHECKS = (
    Check("not finite", lambda v: not v.finite, "NaN or inf in its output or gradient",
          "lower the learning rate, clip gradients, look for NaN in the data and for divisions by zero"),
    Check("dead", lambda v: v.silent >= 0.99, "{silent:.0%} of its neurons never fire",
          "raise the weights before it or normalise them (BatchNorm), lower threshold, raise beta, show more steps; "
          "add train.regularise.silence to the loss"),
    Check("mostly silent", lambda v: 0.5 <= v.silent < 0.99, "{silent:.0%} of its neurons never fire",
          "use fewer neurons, or add train.regularise.silence to the loss"),
    Check("saturated", lambda v: v.saturated >= 0.3, "{saturated:.0%} of its neurons fire in nearly every step",
          "lower the weights before it or the input's scale, raise threshold, lower beta; "
          "add train.regularise.sparsity to the loss"),
    Check("firing drifts up", lambda v: v.silent < 0.99 and v.drift > 3,
          "it fires {drift:.1f} times as much in its last steps as in its first",
          "the membrane is still charging: show more steps, lower beta, or leave the first steps out of the loss"),
    Check("firing drifts down", lambda v: v.silent < 0.99 and v.drift < 1 / 3,
          "it fires {drift:.2f} times as much in its last steps as in its first",
          "activity decays: raise beta or the weights, or weaken adaptation and inhibition"),
    Check("no gradient", lambda v: v.finite and _has(v.gradient, lambda g: g == 0), "no gradient reaches it",
          "a layer behind it is dead, or membranes are far from threshold: use a wider surrogate, "
          "such as surrogate.atan(2.0), and first solve the problems of the layers behind it"),
    Check("gradient vanishes through time", lambda v: _has(v.through_time, lambda g: 0 < g < 1e-3),
          "early steps get {through_time:.0e} of the gradient of late ones",
          "raise beta, or use a wider surrogate, detach_reset=True, or a loss on every step "
          "(train.loss.temporal_crossentropy)"),
    Check("gradient explodes through time", lambda v: _has(v.through_time, lambda g: g > 1e3),
          "early steps get {through_time:.0e} times the gradient of late ones",
          "use detach_reset=True, and Recurrent(..., detach_feedback=True) in recurrent layers; smaller feedback "
          "weights, surrogate.damped, truncated backpropagation and gradient clipping only delay the problem"),
    Check("gradient vanishes with depth", lambda v: _has(v.depth, lambda g: 0 < g < 1e-3),
          "it gets {depth:.0e} of the gradient of the last spiking layer",
          "normalise between layers, use a wider surrogate, or add skip connections"),
    Check("gradient explodes with depth", lambda v: _has(v.depth, lambda g: g > 1e3),
          "it gets {depth:.0e} times the gradient of the last spiking layer",
          "normalise between layers, lower the surrogate's peak, clip gradients"),
)  # fmt: skip


class Finding(NamedTuple):
    """A problem and the layer that has it."""

    path: str
    name: str
    seen: str
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """The statistics of every spiking layer, and the problems found by CHECKS. `print` shows them as a table."""

    layers: tuple[Vitals, ...]
    findings: tuple[Finding, ...]
    loss: float | None = None

    @property
    def well(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        lines = [
            f"{'layer':20}{'neurons':>9}{'rate':>8}{'silent':>8}{'full':>7}{'drift':>7}{'gradient':>11}{'in time':>9}"
        ]
        for v in self.layers:
            row = f"{f'{v.kind} {v.path}'.strip():20}{v.neurons:9,}{v.rate:8.3f}{v.silent:8.0%}"
            row += f"{v.saturated:7.0%}{v.drift:7.2f}"
            lines.append(row + ("" if v.gradient is None else f"{v.gradient:11.1e}{v.through_time or 0.0:9.1e}"))
        for f in self.findings:
            lines += [f"{f.name}: layer {f.path or '(the network)'}: {f.seen}", f"    {f.advice}"]
        return "\n".join([*lines, *(["no problem was found"] if self.well else [])])

    def _repr_html_(self) -> str:
        head = ["layer", "neurons", "rate", "silent", "full", "drift", "gradient"]
        rows = [
            (
                f"{v.kind} {v.path}".strip(),
                f"{v.neurons:,}",
                f"{v.rate:.3f}",
                f"{v.silent:.0%}",
                f"{v.saturated:.0%}",
                f"{v.drift:.2f}",
                "" if v.gradient is None else f"{v.gradient:.1e}",
            )
            for v in self.layers
        ]
        told = [(f"{f.name}: layer {f.path or '(the network)'}", f.seen, f.advice) for f in self.findings]
        if self.well:
            return table(head, rows, "no problem was found")
        return table(head, rows) + table(["problem", "what is observed", "what helps"], told)


def diagnose(
    net: nn.Module, x: Tensor, labels: Tensor | None = None, loss: Any = None, lengths: Tensor | None = None
) -> Diagnosis:
    """Measure a network in one pass over x [T, B, *features]; with labels and a loss, also measure its gradients.

    `loss(net(x), labels)` must return a scalar. lengths [B]: the number of steps of each recording, if they differ
    (`Padded` networks read them from NaN); steps after its end do not count. The network's weights, gradients and mode
    are not changed.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(torch.nn.Linear(4, 8), ranvier.LIF(threshold=99.0))
    >>> [f.name for f in diagnose(net, torch.rand(20, 16, 4)).findings]
    ['dead']
    """
    layers = spiking_layers(net)
    if not layers:
        raise ValueError("doctor: the network has no spiking layers to look at")
    if (labels is None) != (loss is None):
        raise ValueError("doctor: pass both labels and loss, or neither")
    lengths = ends(net, x) if lengths is None else lengths
    with masked(net, x, lengths) as given:
        currents, spikes, value = _watched(net, layers, given, labels, loss)
    norms = {path: _per_step(current) for path, current in currents.items()} if loss is not None else {}
    last = float(norms[next(reversed(norms))].norm()) if norms else 0.0
    vitals = tuple(
        _vitals(path, type(layers[path]).__name__, spikes[path], lengths, norms.get(path), last)
        for path in layers
        if path in spikes
    )
    findings = tuple(
        Finding(v.path, c.name, c.seen.format(**vars(v)), c.advice) for v in vitals for c in CHECKS if c.unwell(v)
    )
    return Diagnosis(vitals, findings, value)


def _watched(
    net: nn.Module, layers: dict[str, Any], x: Tensor, labels: Any, loss: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor], float | None]:
    """Run the network. Return {path: input} (with gradients) and {path: spikes} of the spiking layers, in the order
    in which they ran, and the loss.
    """
    currents: dict[str, Tensor] = {}
    spikes: dict[str, Tensor] = {}

    def before(path: str) -> Callable:
        def hook(layer: nn.Module, inputs: tuple) -> tuple:
            several = isinstance(inputs[0], (tuple, list))
            first = inputs[0][0] if several else inputs[0]
            seen = first if first.requires_grad else first.detach().requires_grad_()
            if loss is not None:
                seen.retain_grad()
            currents[path] = seen
            return ((seen, *inputs[0][1:]) if several else seen, *inputs[1:])

        return hook

    def after(path: str) -> Callable:
        def hook(layer: nn.Module, inputs: tuple, output: Any) -> None:
            spikes[path] = (output[0] if isinstance(output, tuple) else output).detach()

        return hook

    hooks = [layer.register_forward_pre_hook(before(path)) for path, layer in layers.items()]
    hooks += [layer.register_forward_hook(after(path)) for path, layer in layers.items()]
    kept = [(p, p.grad) for p in net.parameters()]
    try:
        for p, _ in kept:
            p.grad = None
        with torch.set_grad_enabled(loss is not None):
            y = net(x)
            value = None if loss is None else loss(y, labels)
        if value is not None:
            value.backward()
    finally:
        for hook in hooks:
            hook.remove()
        for p, grad in kept:
            p.grad = grad
    return currents, spikes, None if value is None else value.item()


def _per_step(current: Tensor) -> Tensor:
    """Return the norm of the gradient of an input [T, B, ...] for each step and sample [T, B]."""
    if current.grad is None:
        return current.new_zeros(current.shape[:2])
    return current.grad.detach().flatten(2).norm(dim=2)


def _vitals(path: str, kind: str, z: Tensor, lengths: Tensor | None, norms: Tensor | None, last: float) -> Vitals:
    steps = (
        torch.full(z.shape[1:2], len(z), device=z.device) if lengths is None else lengths.to(z.device).clamp(max=len(z))
    )
    third = (steps // 3).clamp(min=1)
    there, first = within(steps, len(z)), within(third, len(z))
    final = there & ~within(steps - third, len(z))
    each = z[there].mean(0).flatten()  # rate of every neuron
    early, late = float(z[first].mean()), float(z[final].mean())
    drift = late / early if early else (math.inf if late else 1.0)
    seen = {
        "neurons": each.numel(), "rate": float(each.mean()), "drift": drift,
        "silent": float((each == 0).float().mean()), "saturated": float((each > ALWAYS).float().mean()),
        "finite": bool(torch.isfinite(z).all()) and (norms is None or bool(torch.isfinite(norms).all())),
    }  # fmt: skip
    if norms is not None:
        total = float(norms.norm())
        begun, ended = (float(norms[part].mean()) for part in (first, final))
        seen |= {"gradient": total, "through_time": begun / ended if ended else (math.inf if begun else 0.0)}
        seen |= {"depth": total / last if last else None}
    return Vitals(path, kind, **seen)

"""The table from layers to NIR nodes. Each entry converts a layer to a node with the same equation, or raises an
error.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from ranvier.convert.nir import neurons
from ranvier.convert.nir.time import Clock, just_below, narrow
from ranvier.extras import needed
from ranvier.nn.convolution import Conv2d
from ranvier.nn.delay import Delay, LearnedDelay
from ranvier.nn.dropout import Dropout, Dropout2d
from ranvier.nn.linear import Linear
from ranvier.nn.neurons.current import CubaLI, CubaLIF
from ranvier.nn.neurons.heaviside import Heaviside
from ranvier.nn.neurons.integrate import IF
from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.neurons.parametric import RestLIF
from ranvier.nn.pool import SumPool, same_padding


@dataclass
class Site:
    """A layer that is written: its path, the shapes of a sample before and after it, the time step, and whether
    approximations are allowed. notes: the approximations so far.
    """

    path: str
    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    clock: Clock
    approximate: bool
    notes: list[str] = field(default_factory=list)

    def refuse(self, reason: str) -> NoReturn:
        raise ValueError(f"to_nir: layer {self.path!r} ({kind(self.layer).__name__}) {reason}")

    def approximation(self, what: str, cure: str) -> None:
        """Record an approximation if approximations are allowed; otherwise raise an error."""
        if not self.approximate:
            self.refuse(f"{what}; {cure}, or pass approximate=True, which lists it in graph.metadata")
        self.notes.append(f"{self.path}: {what}")

    def array(self, name: str) -> np.ndarray:
        """Return a parameter as an array with one number for each neuron."""
        value = getattr(self.layer, name).detach().cpu()
        return value.expand(self.outputs).contiguous().numpy().copy()

    def node(self, kind: str, **fields: Any) -> Any:
        return node(kind, self, **fields)

    def hard_reset(self) -> dict[str, str]:
        """Raise an error unless the reset sets the membrane to a level. Return the metadata that `from_nir` needs."""
        reset = self.layer.settings.get("reset", "zero")
        if reset == "none":
            self.refuse("does not reset, but every NIR neuron that spikes does; use LI to read its membrane instead")
        if reset == "zero":
            return {}
        self.approximation(
            f"its reset {reset!r} is written as a reset to a level, the only kind in NIR (Ranvier reads it back from "
            f"the node's metadata)",
            "train with reset='zero'",
        )
        return {"reset": reset}


def kind(layer: nn.Module) -> type:
    """Return the class of a layer without torch's parametrisations."""
    return parametrize.type_before_parametrizations(layer)


def node(name: str, site: Site | None = None, metadata: Any = None, **fields: Any) -> Any:
    """Create a node of the installed version of `nir`. A field that this version does not have raises an error, unless
    all its numbers are 0.
    """
    with needed("a NIR graph"):
        import nir

    cls = getattr(nir, name)
    known = {f.name for f in dataclasses.fields(cls)}
    for extra in fields.keys() - known:
        if np.any(np.asarray(fields.pop(extra)) != 0):
            problem = f"needs the field {extra!r} of {name}, which nir {nir.version} does not have; install a later one"
            site.refuse(problem) if site else _old(problem)
    made = cls(**fields)
    if metadata and "metadata" in known:
        made.metadata = dict(metadata)
    return made


def _old(problem: str) -> NoReturn:
    raise ValueError(f"to_nir {problem}")


def _linear(site: Site) -> Any:
    weight, bias = (
        None if p is None else p.detach().cpu().numpy().copy() for p in (site.layer.weight, site.layer.bias)
    )
    return site.node("Linear", weight=weight) if bias is None else site.node("Affine", weight=weight, bias=bias)


def _convolution(site: Site) -> Any:
    layer = site.layer
    if layer.padding_mode != "zeros":
        site.refuse(f"pads with {layer.padding_mode!r}, but NIR pads with zeros only")
    weight = layer.weight.detach().cpu().numpy().copy()
    bias = np.zeros(len(weight), weight.dtype) if layer.bias is None else layer.bias.detach().cpu().numpy().copy()
    numbers = {n: getattr(layer, n) for n in ("stride", "padding", "dilation")}
    size = site.inputs[1:]
    if isinstance(layer, nn.Conv1d):
        numbers = {n: v if isinstance(v, str) else v[0] for n, v in numbers.items()}
        return site.node("Conv1d", input_shape=size[0], weight=weight, bias=bias, groups=layer.groups, **numbers)
    return site.node("Conv2d", input_shape=size, weight=weight, bias=bias, groups=layer.groups, **numbers)


def _flatten(site: Site) -> Any:
    axes = len(site.inputs) + 1
    first, last = (a % axes for a in (site.layer.start_dim, site.layer.end_dim))
    if first == 0:
        site.refuse("flattens the batch, which NIR nodes do not have")
    return site.node("Flatten", input_type={"input": np.array(site.inputs)}, start_dim=first - 1, end_dim=last - 1)


def _two(value: Any) -> np.ndarray:
    return np.array(value if isinstance(value, (tuple, list)) else (value, value))


def _average(site: Site) -> Any:
    pool = site.layer
    sums = pool.divisor_override == 1
    if pool.ceil_mode or not (sums or pool.divisor_override is None):
        site.refuse("has ceil_mode or a divisor_override other than 1, which NIR does not support")
    if not (sums or pool.count_include_pad or not np.any(_two(pool.padding))):
        site.refuse("excludes the padding from its mean, which NIR does not support; use count_include_pad=True")
    stride = pool.kernel_size if pool.stride is None else pool.stride
    numbers = dict(kernel_size=_two(pool.kernel_size), stride=_two(stride), padding=_two(pool.padding))
    return site.node("SumPool2d" if sums else "AvgPool2d", **numbers)


def _sum_pool(site: Site) -> Any:
    pool = site.layer
    if len(pool.window) != 2 or len(site.inputs) != 3:
        site.refuse(f"pools {len(pool.window)} axes of {site.inputs}; NIR supports only H and W of [C, H, W]")
    sides = [(0, 0)] * 2
    if pool.padding == "SAME":
        sides = [same_padding(n, w, s) for n, w, s in zip(site.inputs[1:], pool.window, pool.stride, strict=True)]
    if any(a != b for a, b in sides):
        site.refuse(f"pads {sides}, more on one side than on the other, which NIR does not support")
    numbers = dict(kernel_size=np.array(pool.window), stride=np.array(pool.stride))
    return site.node("SumPool2d", padding=np.array([a for a, _ in sides]), **numbers)


def _delay(site: Site) -> Any:
    layer = site.layer
    if isinstance(layer, LearnedDelay):
        site.approximation("its learned delays are rounded to whole steps", "export layer.rounded()")
        layer = layer.rounded()
    steps = layer.steps.cpu().expand(site.inputs).numpy().astype(np.float64)
    clock = site.clock
    return site.node("Delay", delay=narrow(steps * clock.dt, lambda d: np.round(d / clock.dt), steps))


def _decay(site: Site, name: str, keep: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return tau for a decay per step, and the corresponding r / gain."""
    keep = site.array(name) if keep is None else keep
    wide = keep.astype(np.float64)
    if np.any(wide >= 1.0):
        site.refuse(f"has {name} = 1, no leak at all, which this NIR node does not support; use IF, or {name} below 1")
    if site.clock.method != "euler" and np.any(wide <= 0.0):
        site.refuse(f"has {name} = 0, which only method='euler' supports")
    tau = narrow(site.clock.tau(wide), site.clock.keep, keep)
    part = site.clock.part(site.clock.keep(tau))
    return tau, (1.0 / part).astype(tau.dtype)


def _fires(site: Site) -> np.ndarray:
    return just_below(site.array("threshold"))


def _still(site: Site, like: np.ndarray) -> np.ndarray:
    return np.zeros(site.outputs, like.dtype)


def _integrating(site: Site) -> np.ndarray:
    """Return r for a membrane without leak whose gain is 1."""
    return np.full(site.outputs, 1.0 / site.clock.step, np.float32)


def _if(site: Site) -> Any:
    told = site.hard_reset()
    fires = _fires(site)
    return site.node("IF", r=_integrating(site), v_threshold=fires, v_reset=_still(site, fires), metadata=told)


def _lif(site: Site) -> Any:
    if np.all(site.array("beta") == 1.0):
        return _if(site)
    told, fires = site.hard_reset(), _fires(site)
    tau, r = _decay(site, "beta")
    still = _still(site, fires)
    return site.node("LIF", tau=tau, r=r, v_leak=still, v_threshold=fires, v_reset=still.copy(), metadata=told)


def _li(site: Site) -> Any:
    if np.all(site.array("beta") == 1.0):
        return site.node("I", r=_integrating(site))
    tau, r = _decay(site, "beta")
    return site.node("LI", tau=tau, r=r, v_leak=_still(site, r))


def _cuba(site: Site) -> dict[str, np.ndarray]:
    (tau_syn, w_in), (tau_mem, r) = _decay(site, "alpha"), _decay(site, "beta")
    return dict(tau_syn=tau_syn, tau_mem=tau_mem, r=r, w_in=w_in)


def _cuba_lif(site: Site) -> Any:
    told, fires = site.hard_reset(), _fires(site)
    still = _still(site, fires)
    return site.node("CubaLIF", v_leak=still, v_threshold=fires, v_reset=still.copy(), metadata=told, **_cuba(site))


def _cuba_li(site: Site) -> Any:
    return site.node("CubaLI", v_leak=np.zeros(site.outputs, np.float32), **_cuba(site))


def _rest_lif(site: Site) -> Any:
    told = {"layer": "RestLIF", **site.hard_reset()}
    leak = site.array("leak")
    if np.any(leak <= 0):
        site.refuse("has leak = 0, which NIR's LIF does not support; use IF")
    tau = narrow(site.clock.tau(1.0 - leak.astype(np.float64)), lambda t: 1.0 - site.clock.keep(t), leak)
    part = site.clock.part(site.clock.keep(tau))
    gain = leak.astype(np.float64) if site.layer.settings["decay_input"] else 1.0
    rest, r = site.array("rest"), (gain / part).astype(np.float32)
    return site.node("LIF", tau=tau, r=r, v_leak=rest, v_reset=rest.copy(), v_threshold=_fires(site), metadata=told)


def _gained(site: Site, name: str = "beta", gain: str = "gain") -> tuple[np.ndarray, np.ndarray]:
    """Return tau and r of a neuron that has a parameter for its gain."""
    tau, _ = _decay(site, name)
    wanted = site.array(gain)
    part = site.clock.part(site.clock.keep(tau))
    return tau, narrow(wanted / part, lambda r: r * part, wanted)


def _gain_lif(site: Site) -> Any:
    fires, level, rest = _fires(site), site.array("level"), site.array("rest")
    if np.all(site.array("beta") == 1.0):
        wanted, step = site.array("gain"), site.clock.step
        r = narrow(wanted.astype(np.float64) / step, lambda r: r * step, wanted)
        return site.node("IF", r=r, v_threshold=fires, v_reset=level, metadata={"layer": "GainLIF"})
    tau, r = _gained(site)
    told = {"layer": "GainLIF"}
    return site.node("LIF", tau=tau, r=r, v_leak=rest, v_threshold=fires, v_reset=level, metadata=told)


def _gain_li(site: Site) -> Any:
    told = {"layer": "GainLI"}
    if np.all(site.array("beta") == 1.0):
        wanted, step = site.array("gain"), site.clock.step
        return site.node("I", r=narrow(wanted.astype(np.float64) / step, lambda r: r * step, wanted), metadata=told)
    tau, r = _gained(site)
    return site.node("LI", tau=tau, r=r, v_leak=site.array("rest"), metadata=told)


def _gain_cuba(site: Site) -> dict[str, Any]:
    (tau_syn, w_in), (tau_mem, r) = _gained(site, "alpha", "weight"), _gained(site)
    told = {"layer": kind(site.layer).__name__}
    return dict(tau_syn=tau_syn, w_in=w_in, tau_mem=tau_mem, r=r, v_leak=site.array("rest"), metadata=told)


LAYERS: dict[type, Callable[[Site], Any]] = {
    nn.Linear: _linear,
    Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    Conv2d: _convolution,
    nn.Flatten: _flatten,
    nn.AvgPool2d: _average,
    SumPool: _sum_pool,
    Delay: _delay,
    LearnedDelay: _delay,
    Heaviside: lambda site: site.node("Threshold", threshold=_fires(site)),
    IF: _if,
    LIF: _lif,
    LI: _li,
    CubaLIF: _cuba_lif,
    CubaLI: _cuba_li,
    RestLIF: _rest_lif,
    neurons.GainLIF: _gain_lif,
    neurons.GainLI: _gain_li,
    neurons.GainCubaLIF: lambda s: s.node("CubaLIF", v_threshold=_fires(s), v_reset=s.array("level"), **_gain_cuba(s)),
    neurons.GainCubaLI: lambda s: s.node("CubaLI", **_gain_cuba(s)),
    neurons.Scale: lambda site: site.node("Scale", scale=site.array("scale")),
}

# Layers that return their input unchanged in evaluation mode.
SILENT = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, Dropout, Dropout2d,
)  # fmt: skip

_NORM = "normalises; fold it into the layer before it: torch.nn.utils.fusion.fuse_conv_bn_eval, or fuse_linear_bn_eval"
REASONS: dict[type, str] = {
    nn.BatchNorm1d: _NORM,
    nn.BatchNorm2d: _NORM,
    nn.MaxPool2d: "computes a maximum, for which NIR has no node; use AvgPool2d or SumPool",
    nn.ReLU: "is no spiking layer; NIR has no node for it",
}


def reason(layer: nn.Module) -> str:
    """Return the reason why a layer has no node."""
    known = ", ".join(k.__name__ for k in LAYERS)
    return REASONS.get(kind(layer), f"has no node in NIR; there are nodes for {known}, and Recurrent")


def as_dtype(dtype: torch.dtype) -> type:
    return {torch.float64: np.float64}.get(dtype, np.float32)

"""Random rows of layers, right and wrong ones; as a program, the fuzzer's child: it says what it does before.

    python random_rows.py BEGIN COUNT REPORT

writes to REPORT a line `SEED` before each network is run, and after it `SEED KIND MESSAGE`, or `SEED fine`.
"""

import copy
import random
import re
import sys
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import ranvier as rv
from ranvier.spikes import dense, row

WIDTHS = (1, 2, 3, 5, 31, 64, 65, 130)
ROUNDINGS = 16  # as many as a sum of a few hundred numbers has, of which half cancel
DTYPES = (torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64)


@dataclass
class Draw:
    """A network of random layers and its input; `fault` says what was made wrong about them, if anything was."""

    seed: int
    layers: list[nn.Module]
    x: Any
    training: bool
    fault: str = ""

    def net(self) -> rv.Sequential:
        return rv.Sequential(*copy.deepcopy(self.layers)).train(self.training)

    def __str__(self) -> str:
        kind = f"{self.x.dtype} {tuple(self.x.shape)} strides {self.x.stride()}".removeprefix("torch.")
        mode = "training" if self.training else "evaluation"
        return f"x {kind}, {mode}, {self.fault or 'right'}: " + ", ".join(_short(m) for m in self.layers)


def _short(layer: nn.Module) -> str:
    return re.sub(r"\s+", " ", repr(layer)).replace("ranvier.", "")


@dataclass
class _Maker:
    """Puts one layer behind the other, with the features that come out of the last."""

    dice: random.Random
    features: tuple[int, ...]
    rich: bool  # layers that draw random numbers or see several steps, too
    norms: bool  # batch norms in rows, which torch refuses for one number per channel
    layers: list[nn.Module] = field(default_factory=list)

    def grow(self) -> None:
        """The next few layers: a row that a stage may be made of, or one layer of another kind."""
        (self._pictures if len(self.features) == 3 else self._rows)()

    def neuron(self) -> nn.Module:
        some: list[Any] = [
            *[lambda: rv.LIF(threshold=self.dice.choice((0.2, 0.5)), reset=self.dice.choice(("subtract", "zero")))] * 4,
            lambda: rv.LIF(threshold=0.3, learn="beta", shape=self.features),
            rv.LI,
            lambda: rv.TernaryLIF(threshold=0.3),
            lambda: rv.ALIF(threshold=0.3),
        ]
        return self.dice.choice(some[:6] if len(self.features) == 3 else some)()

    def norm(self) -> nn.Module:
        given: dict[str, Any] = self.dice.choice(
            ({}, {}, {"affine": False}, {"track_running_stats": False}, {"momentum": None})
        )
        return nn.BatchNorm1d(self.features[0], **given)

    def _rows(self) -> None:
        (width,), dice = self.features, self.dice
        kind = dice.choice([*["linear"] * 6, "neuron", "plain", *(["odd"] if self.rich else [])])
        if kind == "linear":
            wide = dice.choice(WIDTHS)
            make = dice.choice((nn.Linear, rv.Linear))
            self.layers.append(make(width, wide, bias=dice.random() < 0.7))
            self.features = (wide,)
            if dice.random() < 0.3:
                inner = dice.choice((rv.LIF(threshold=0.3), rv.LI(beta=0.5), rv.TernaryLIF(threshold=0.4)))
                self.layers.append(rv.Recurrent(inner, wide))
            elif dice.random() < 0.9:
                if self.norms and dice.random() < 0.3:
                    self.layers.append(self.norm())
                self.layers.append(self.neuron())
        elif kind == "neuron":
            if self.norms and dice.random() < 0.2:
                self.layers.append(self.norm())
            self.layers.append(self.neuron())
        elif kind == "plain":
            makers = nn.Identity, nn.ReLU, lambda: nn.ReLU(inplace=True), lambda: nn.LayerNorm(width), nn.Flatten
            self.layers.append(dice.choice(makers)())
        else:
            makers = lambda: rv.Dropout(0.3), lambda: nn.Dropout(0.3), lambda: rv.Lowpass(tau=0.5, dt=0.1)
            self.layers.append(dice.choice(makers)())

    def _pictures(self) -> None:
        (channels, height, width), dice = self.features, self.dice
        if dice.random() < 0.15:
            self.layers.append(nn.Flatten())
            self.features = (channels * height * width,)
            return
        if dice.random() < 0.8:
            taps, padding, more = dice.choice(((1, 0), (3, 1), (3, 0), (2, 0))), 0, dice.choice((1, 2, 3))
            taps, padding = taps
            stride = dice.choice((1, 1, 2))
            if min(height, width) >= taps:
                make = dice.choice((nn.Conv2d, rv.Conv2d))
                self.layers.append(make(channels, more, taps, stride, padding, bias=dice.random() < 0.7))
                height, width = ((n + 2 * padding - taps) // stride + 1 for n in (height, width))
                channels = more
        if height * width > 1 and dice.random() < 0.5:  # of few equal numbers a norm shows nothing but rounding
            makers: list[Any] = [
                lambda: nn.BatchNorm2d(channels),
                lambda: nn.BatchNorm2d(channels, affine=False),
                lambda: nn.BatchNorm2d(channels, track_running_stats=False),
                lambda: rv.ThresholdBatchNorm2d(channels),
            ]
            self.layers.append(dice.choice(makers)())
        self.features = channels, height, width
        if dice.random() < 0.9:
            self.layers.append(self.neuron())
        if dice.random() < 0.5 and min(height, width) >= 2:
            pools = [
                lambda: nn.MaxPool2d(2),
                lambda: nn.AvgPool2d(2),
                lambda: nn.MaxPool2d(2, 1),
                lambda: nn.AvgPool2d(2, ceil_mode=True),
            ]
            pool = dice.choice(pools)()
            self.layers.append(pool)
            height, width = pool(torch.zeros(1, 1, height, width)).shape[2:]
            self.features = channels, height, width


def draw(seed: int, faults: bool = True, rich: bool = False) -> Draw:
    """The network of a seed. faults: whether something may be wrong about it."""
    dice = random.Random(seed)
    torch.manual_seed(seed)
    features = dice.choice(((dice.choice(WIDTHS),), (dice.choice((1, 2)), dice.choice((4, 5)), 4)))
    steps, batch = dice.choice((1, 2, 3, 5, 9)), dice.choice((1, 2, 3, 9))
    if len(features) == 1 and dice.random() < 0.05:  # so many inputs that products go by events
        features, steps, batch = (260,), 9, 29
    maker = _Maker(dice, features, rich, norms=steps * batch > 1)
    while len(maker.layers) < dice.choice((2, 3, 5, 7)):
        maker.grow()
    density = dice.choice((None, 0.05, 0.3, 1.0))
    numbers = torch.rand(steps, batch, *features)
    x = numbers * 2 if density is None else (numbers < density).float()
    found = Draw(seed, maker.layers, _laid_out(x, dice), dice.random() < 0.6)
    if dice.random() < 0.1:
        found.layers, found.x = [m.double() for m in found.layers], found.x.double()
    if faults and dice.random() < 0.5:
        _break(found, dice)
    return found


def _laid_out(x: Tensor, dice: random.Random) -> Tensor:
    ways: list[Any] = [
        *[lambda: x] * 5,
        lambda: x[:1].expand_as(x),
        lambda: x[:, :1].expand_as(x),
        lambda: x.transpose(0, 1).contiguous().transpose(0, 1),
        lambda: x.transpose(0, -1).contiguous().transpose(0, -1),
        lambda: x.repeat_interleave(2, 0)[::2],
        lambda: torch.cat([x, x], -1)[..., x.shape[-1] :],
    ]
    return dice.choice(ways)()


def _break(found: Draw, dice: random.Random) -> None:
    """Make one thing wrong, or what may look wrong and is not."""
    ways = [_wrong_width, _wrong_width, _wrong_width, _wrong_rank, _wrong_dtype, _wrong_layer_dtype, _empty]
    dice.choice(ways)(found, dice)


def _other(width: int, dice: random.Random) -> int:
    return dice.choice([w for w in (1, width - 1, width + 1, 2 * width, 64 * width, 20_000) if w != width and w > 0])


def _wrong_width(found: Draw, dice: random.Random) -> None:
    at = dice.randrange(len(found.layers))
    layer = found.layers[at]
    if isinstance(layer, nn.Linear):
        wide = _other(layer.in_features, dice)
        found.layers[at] = type(layer)(wide, layer.out_features, bias=layer.bias is not None)
    elif isinstance(layer, nn.Conv2d):
        many = _other(layer.in_channels, dice)
        found.layers[at] = type(layer)(
            min(many, 70), layer.out_channels, layer.kernel_size, layer.stride, layer.padding
        )  # type: ignore[arg-type]
    elif isinstance(layer, rv.Recurrent):
        found.layers[at] = rv.Recurrent(layer.neuron, min(_other(layer.feedback.in_features, dice), 2_000))
    elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
        found.layers[at] = type(layer)(_other(layer.num_features, dice))
    elif isinstance(layer, rv.LIF):
        found.layers[at] = rv.LIF(beta=torch.full((_other(3, dice),), 0.5), learn="beta")
    else:
        return
    found.fault = f"another width at {at}"


def _wrong_rank(found: Draw, dice: random.Random) -> None:
    x = found.x
    ways = [lambda: x[0], lambda: x[0, 0], lambda: x.unsqueeze(2), lambda: x.unsqueeze(-1), lambda: x.flatten(1)]
    found.x, found.fault = dice.choice(ways)(), "another rank"


def _wrong_dtype(found: Draw, dice: random.Random) -> None:
    found.x, found.fault = found.x.to(dice.choice(DTYPES)), "another dtype"


def _wrong_layer_dtype(found: Draw, dice: random.Random) -> None:
    at = dice.randrange(len(found.layers))
    found.layers[at].to(dice.choice((torch.float64, torch.bfloat16)))
    found.fault = f"another dtype at {at}"


def _empty(found: Draw, dice: random.Random) -> None:
    x = found.x
    found.x, found.fault = dice.choice((x[:0], x[:, :0], x[..., :0])), "empty"


class Refused(Exception):
    """A layer refused its input: its place and the error."""

    def __init__(self, layer: nn.Module, error: Exception):
        super().__init__(f"{type(layer).__name__}: {error}")
        self.layer = layer


def _one_by_one(layers: list[nn.Module], x: Any) -> Any:
    for layer in layers:
        knows_time = any(isinstance(m, (rv.Temporal, rv.Fold)) for m in layer.modules())
        try:
            x = layer(x) if knows_time else rv.Fold(layer)(x)
        except (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError) as error:
            raise Refused(layer, error) from error
    return x


def _run(forward: Any, net: nn.Module, x: Any, backend: str) -> tuple[Tensor, list[Tensor]]:
    """Output, and gradients of the input and all parameters."""
    floats = x.is_floating_point()
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_() if floats else x
    torch.manual_seed(1)
    with rv.backend(backend):
        y = forward(leaf)
        generator = torch.Generator().manual_seed(2)
        weight = torch.rand(y.shape, generator=generator, dtype=torch.float64).to(y.dtype)
        wanted = [v for v in (leaf, *net.parameters()) if v.requires_grad]
        total = (y * weight).sum()
        none = [None] * len(wanted)
        found = torch.autograd.grad(total, wanted, allow_unused=True) if wanted and total.requires_grad else none
    return y.detach(), [torch.zeros_like(v) if g is None else g for v, g in zip(wanted, found, strict=True)]


def judge(seed: int) -> tuple[str, str]:
    """What became of the network of a seed: a kind, and what there is to say."""
    found = draw(seed)
    net, plain = found.net(), found.net()
    refused = None
    try:
        wanted, g_wanted = _run(lambda x: _one_by_one(list(plain), x), plain, found.x, "reference")
    except Refused as error:
        refused = error
    except RuntimeError as error:  # in backward: a layer in place changed what another needs
        refused = Refused(plain, error)
    try:
        y, g = _run(net, net, found.x, "numba")
    except (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError) as error:
        if refused is None:
            return "refused", f"{type(error).__name__}: {error} | {found}"
        names = {type(m).__name__ for m in refused.layer.modules()}
        if refused.layer is plain:
            return "fine", ""
        named = any(re.search(rf"\b{n}\b", str(error)) for n in names)
        return ("fine", "") if named else ("unnamed", f"{type(error).__name__}: {error} | {found}")
    if refused is not None:
        return "accepted", f"though {refused} | {found}"
    if y.shape != wanted.shape or y.dtype != wanted.dtype:
        return "differs", f"{tuple(y.shape)} {y.dtype}, not {tuple(wanted.shape)} {wanted.dtype} | {found}"
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-10}.get(y.dtype, 2e-2)
    norms = any(isinstance(m, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)) for m in net.modules())
    hangs = norms or any(isinstance(m, nn.MaxPool2d) for m in net.modules())  # equal pixels: rounding chooses one
    exact = _Exact(found, wanted, g_wanted) if hangs and y.dtype in (torch.float32, torch.float64) else None
    if (off := _off(y, wanted)) > tolerance and not (exact and exact.allows(y, tolerance)):
        return "differs", f"output off by {off:.2g} | {found}"
    if exact and exact.allows(y, tolerance):
        g_wanted, tolerance = exact.g, max(tolerance, exact.g_error)
    most = max((b.double().abs().max().item() for b in g_wanted if b.numel()), default=0.0) / (1 if hangs else 10)
    for k, (a, b) in enumerate(zip(g, g_wanted, strict=True)):
        if (off := _off(a, b, most)) > tolerance:
            return "gradient", f"gradient {k} {tuple(b.shape)} off by {off:.2g} | {found}"
    return "fine", ""


class _Exact:
    """Output and gradients of a network with norms or maximum pools in float64, and how far right ones may be off.

    A norm of numbers that are nearly equal is a difference of rounded ones, and the largest of pixels that are nearly
    equal is chosen by rounding. So a result counts as right if it is not
    further off than a few times torch's own, or than the exact result of numbers that are rounded otherwise.
    """

    def __init__(self, found: Draw, y: Tensor, g: list[Tensor]):
        self.found = found
        self.dice = torch.Generator().manual_seed(0)  # its own, since `_run` sets the seed of torch anew
        self.y, self.g = self._of(0.0)
        most = max((b.abs().max().item() for b in self.g if b.numel()), default=0.0)
        others = [(y, g), *(self._of(ROUNDINGS * torch.finfo(y.dtype).eps) for _ in range(3))]
        self.y_error = 4 * max(_off(other, self.y) for other, _ in others)
        self.g_error = 4 * max((_off(a, b, most) for _, o in others for a, b in zip(o, self.g, strict=True)), default=0)

    def _of(self, nudge: float) -> tuple[Tensor, list[Tensor]]:
        """In float64; input, parameters, products and norms are changed by up to this share, and so are gradients."""
        net, x = self.found.net().double(), self.found.x.double()
        if not nudge:
            return _run(lambda x: _one_by_one(list(net), x), net, x, "reference")

        def changed(v: Tensor) -> Tensor:
            return v * (1 + nudge * (2 * torch.rand(v.shape, generator=self.dice, dtype=v.dtype) - 1))

        def rounded(module: nn.Module, given: Any, y: Tensor) -> Tensor:
            if y.requires_grad:
                y.register_hook(changed)
            return changed(y)

        for m in net.modules():
            if isinstance(m, (nn.Linear, nn.Conv2d, nn.modules.batchnorm._BatchNorm)):
                m.register_forward_hook(rounded)
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(changed(p))
        return _run(lambda x: _one_by_one(list(net), x), net, changed(x), "reference")

    def allows(self, y: Tensor, tolerance: float) -> bool:
        return _off(y, self.y) <= max(tolerance, self.y_error)


def _off(a: Tensor, b: Tensor, least: float = 1e-3) -> float:
    """The greatest difference, as a share of the largest number, or of `least` where all are rounding errors."""
    if not b.numel():
        return 0.0
    a, b = a.double(), b.double()
    return ((a - b).abs().max() / b.abs().max().clamp_min(max(least, 1e-3))).nan_to_num(float("inf")).item()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    row.LEAST = 1  # two threads share samples, however few there are
    begin, count = int(sys.argv[1]), int(sys.argv[2])
    with open(sys.argv[3], "a") as report:
        for seed in range(begin, begin + count):
            print(seed, file=report, flush=True)
            torch.set_num_threads(1 + seed // 100 % 2)
            dense.WORTH = 1 << 20 if seed % 3 else 1  # every third net computes its products as large nets do
            kind, said = judge(seed)
            print(seed, kind, " ".join(said.split()), file=report, flush=True)

"""A trained network as a graph of calls, and which of these calls are linear, rectifiers or maxima."""

import copy
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ranvier.convert.spiking import QCFS
from ranvier.nn.convolution import Conv2d
from ranvier.nn.linear import Linear

_CONVS = (nn.Conv1d, nn.Conv2d, Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_FUSE: dict[type, Callable[..., nn.Module]] = {
    **dict.fromkeys(_CONVS, fuse_conv_bn_eval),
    **dict.fromkeys((nn.Linear, Linear), fuse_linear_bn_eval),
}


def _clamped(x: Any = None, min: Any = None, max: Any = None) -> float:
    """Return the upper limit of clamp(x, 0, max); NaN if it is not a rectifier."""
    return math.nan if min != 0 else math.inf if max is None else float(max)


# Rectifiers, each with a function (module or None, arguments, keywords of the call) -> upper limit.
RECTIFIERS: dict[Any, Callable[[Any, tuple, dict], float]] = {
    **dict.fromkeys((nn.ReLU, F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"), lambda m, a, k: math.inf),
    **dict.fromkeys((nn.ReLU6, F.relu6), lambda m, a, k: 6.0),
    nn.Hardtanh: lambda m, a, k: _clamped(None, m.min_val, m.max_val),
    **dict.fromkeys((torch.clamp, "clamp", "clamp_", F.hardtanh), lambda m, a, k: _clamped(*a, **k)),
    QCFS: lambda m, a, k: m.threshold.item(),
}


def _pool(module: type[nn.Module], *names: str) -> Callable[[Any, tuple, dict], nn.Module]:
    """Return the module of a pooling function whose arguments, after the input, have these names."""
    return lambda m, a, k: module(**dict(zip(names, a, strict=False)), **k)


_WINDOW = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_SIZE = ("output_size", "return_indices")

# Maxima, each with a function (module or None, arguments, keywords of the call) -> pooling module.
MAXIMA: dict[Any, Callable[[Any, tuple, dict], nn.Module]] = {
    **dict.fromkeys(
        (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        lambda m, a, k: m,
    ),
    **dict.fromkeys((F.max_pool1d, torch.max_pool1d), _pool(nn.MaxPool1d, *_WINDOW)),
    **dict.fromkeys((F.max_pool2d, torch.max_pool2d), _pool(nn.MaxPool2d, *_WINDOW)),
    **dict.fromkeys((F.max_pool3d, torch.max_pool3d), _pool(nn.MaxPool3d, *_WINDOW)),
    F.adaptive_max_pool1d: _pool(nn.AdaptiveMaxPool1d, *_SIZE),
    F.adaptive_max_pool2d: _pool(nn.AdaptiveMaxPool2d, *_SIZE),
    F.adaptive_max_pool3d: _pool(nn.AdaptiveMaxPool3d, *_SIZE),
}

# Layers that are affine in their inputs: the mean over time of their output is their output for the mean input.
LINEAR = {
    nn.Linear, Linear, *_CONVS, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Bilinear, *_NORMS,
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.Upsample, nn.PixelShuffle, nn.ChannelShuffle, nn.ZeroPad2d,
    F.linear, F.conv1d, F.conv2d, F.conv3d, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d, F.adaptive_avg_pool3d, F.pad, F.interpolate, torch.flatten, torch.reshape, torch.add,
    torch.sub, torch.neg, torch.cat, torch.concat, torch.stack, torch.mean, torch.sum, torch.permute, torch.transpose,
    torch.squeeze, torch.unsqueeze, torch.chunk, torch.split, operator.add, operator.iadd, operator.sub, operator.neg,
    operator.getitem, getattr,
    "add", "add_", "sub", "sub_", "neg", "flatten", "reshape", "view", "size", "dim", "mean", "sum", "permute",
    "transpose", "contiguous", "squeeze", "unsqueeze", "chunk", "split", "expand", "unflatten",
}  # fmt: skip

# Linear if at most one operand changes from step to step.
SCALED = {
    torch.mul, torch.div, operator.mul, operator.imul, operator.truediv, operator.itruediv,
    "mul", "mul_", "div", "div_",
}  # fmt: skip

WHY_NOT = {
    **dict.fromkeys(
        (nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.LeakyReLU, nn.PReLU, nn.Hardswish, F.gelu, F.silu, F.mish, F.elu,
         F.leaky_relu, F.hardswish, nn.Softplus, F.softplus),
        "its output may be negative or never zero, but a firing rate cannot be; train with ReLU or QCFS",
    ),
    **dict.fromkeys(
        (nn.Sigmoid, nn.Tanh, torch.sigmoid, torch.tanh, F.sigmoid, F.tanh, "sigmoid", "tanh"),
        "it saturates smoothly, but an integrating neuron does not; train with ReLU or QCFS",
    ),
    **dict.fromkeys(
        (nn.Softmax, nn.LogSoftmax, F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, "softmax",
         "log_softmax"),
        "it cannot be applied to single steps; remove it, and apply it to the mean over time",
    ),
    **dict.fromkeys(
        (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, F.layer_norm,
         F.group_norm),
        "it divides by the spread of the spikes in one step, not by that of the rates; train with BatchNorm",
    ),
}  # fmt: skip


# Classes in which torch wraps a model -> the attribute that contains the model.
WRAPPINGS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (QCFS, Linear, Conv2d)) or super().is_leaf_module(m, module_qualified_name)


def traced(model: nn.Module) -> fx.GraphModule:
    """Return a copy of the model in eval mode as a graph of calls, with batch normalisation folded into the layers
    before it.
    """
    for kind, inside in WRAPPINGS.items():
        if type(model).__name__ == kind:
            raise ValueError(f"convert: the model is wrapped in {kind}; convert `model.{inside}` instead")
    copied = copy.deepcopy(model).eval()
    try:
        net = fx.GraphModule(copied, _Tracer().trace(copied), type(model).__name__)
    except Exception as problem:  # forward may raise any error when it is traced
        raise ValueError(
            f"convert: torch.fx cannot follow {type(model).__name__}.forward: {problem}. It must call the same layers "
            f"for every input; move code that depends on values out of the model"
        ) from problem
    if len(inputs := [n.name for n in net.graph.nodes if n.op == "placeholder"]) != 1:
        raise ValueError(f"convert: the model must take one input, but its forward takes {inputs}")
    (output,) = (n for n in net.graph.nodes if n.op == "output")
    if not isinstance(output.args[0], fx.Node):
        raise ValueError(
            f"convert: the model must return one tensor [B, *outputs], but it returns a "
            f"{type(output.args[0]).__name__}; wrap it in a module whose forward returns one of its outputs"
        )
    _fold_norms(net)
    return net.eval()


def _fold_norms(net: fx.GraphModule) -> None:
    calls = [n.target for n in net.graph.nodes if n.op == "call_module"]
    for node in net.graph.nodes:
        norm, before = module_of(net, node), node.args[0] if node.args else None
        if not isinstance(norm, _NORMS) or norm.running_mean is None or not isinstance(before, fx.Node):
            continue
        layer = module_of(net, before)
        shared = calls.count(before.target) > 1 or calls.count(node.target) > 1 or len(before.users) > 1
        if shared or type(layer) not in _FUSE:
            continue
        net.set_submodule(str(before.target), _FUSE[type(layer)](layer, norm))
        node.replace_all_uses_with(before)
        net.graph.erase_node(node)
    net.delete_all_unused_submodules()
    net.recompile()


def module_of(net: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return net.get_submodule(str(node.target)) if node.op == "call_module" else None


def kind_of(net: fx.GraphModule, node: fx.Node) -> Any:
    """Return the type of module, the function, or the name of the method that a node calls; None if it calls
    nothing.
    """
    if not node.op.startswith("call"):
        return None
    module = module_of(net, node)
    return node.target if module is None else type(module)


def ceiling(net: fx.GraphModule, node: fx.Node) -> float | None:
    """Return the upper limit of a rectifier (inf for a ReLU); None if the node does not rectify."""
    kind = kind_of(net, node)
    if kind not in RECTIFIERS:
        return None
    found = RECTIFIERS[kind](module_of(net, node), node.args, node.kwargs)
    return None if math.isnan(found) else found


def maximum(net: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the pool that a node calls; None if it is not a maximum."""
    make = MAXIMA.get(kind_of(net, node))
    pool = make and make(module_of(net, node), node.args[1:], node.kwargs)
    if getattr(pool, "return_indices", False):
        raise ValueError(f"convert: {node.name} returns the indices of its maxima; use return_indices=False")
    return pool


def reason_left(net: fx.GraphModule, node: fx.Node, flowing: set[fx.Node]) -> str | None:
    """Return the reason why spikes cannot pass through a call; None if it is correct on every step separately."""
    kind = kind_of(net, node)
    module = module_of(net, node)
    if isinstance(module, _NORMS) and module.running_mean is None:
        return "it normalises by the current batch; train it with running statistics: track_running_stats=True"
    if kind is F.dropout and not node.kwargs.get("training", True):
        return None
    if kind in LINEAR or (kind in SCALED and sum(a in flowing for a in node.all_input_nodes) <= 1):
        return None
    if kind in SCALED:
        return "a product of two rates is not a rate of spikes"
    return WHY_NOT.get(kind, "it is not known as linear, ReLU or maximum, so it is applied to each step separately")


class Watch(fx.Interpreter):
    """Runs a graph and passes the output of the named nodes to `see(name, value)`."""

    def __init__(self, net: fx.GraphModule, names: set[str], see: Callable[[str, Tensor], None]):
        super().__init__(net)
        self.names, self.see = names, see

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.names:
            self.see(n.name, value)
        return value

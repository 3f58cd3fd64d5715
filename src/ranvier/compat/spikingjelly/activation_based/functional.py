"""SpikingJelly's functions."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.spikingjelly.activation_based.base import BACKENDS, Container, MemoryModule, StepModule
from ranvier.compat.spikingjelly.activation_based.fuse import (  # noqa: F401
    fuse_convbn2d,
    fused_conv2d_bias_of_convbn2d,
    fused_conv2d_weight_of_convbn2d,
    scale_fused_conv2d_bias_of_convbn2d,
    scale_fused_conv2d_weight_of_convbn2d,
)
from ranvier.compat.spikingjelly.activation_based.wrappers import folded


def reset_net(net: nn.Module) -> None:
    """Call `reset()` of every module that has this method. Do this before each new batch."""
    for module in net.modules():
        if callable(reset := getattr(module, "reset", None)):
            reset()


def detach_net(net: nn.Module) -> None:
    """Detach all memories from the graph, for truncated backpropagation through time."""
    for module in net.modules():
        if isinstance(module, MemoryModule):
            module.detach()


def set_step_mode(net: nn.Module, step_mode: str) -> None:
    """Set the step mode of every module that has one; modules inside a container keep "s"."""
    inner = {m for c in net.modules() if isinstance(c, Container) for m in c.modules() if m is not c}
    for module in net.modules():
        if isinstance(module, StepModule) and module not in inner:
            if step_mode in module.supported_step_mode():
                module.step_mode = step_mode
            elif not isinstance(module, Container):
                raise ValueError(
                    f"set_step_mode: {type(module).__name__} has step modes {module.supported_step_mode()}, not "
                    f'"{step_mode}"'
                )


def set_backend(net: nn.Module, backend: str, instance: Any = nn.Module) -> None:
    """Store the name of a backend in every module that has one. Ranvier chooses which kernels run."""
    if backend not in BACKENDS:
        raise ValueError(f"set_backend: backend must be one of {BACKENDS}, got {backend!r}")
    for module in net.modules():
        if isinstance(module, MemoryModule) and isinstance(module, instance):
            module.backend = backend


Stage = nn.Module | Callable | Sequence


def _one(module: Stage) -> Callable:
    """Return a module, or a list of modules in sequence, as one function."""
    if not isinstance(module, (list, tuple)):
        return module  # type: ignore[return-value]

    def chain(x: Any) -> Any:
        for stage in module:
            x = stage(x)
        return x

    return chain


def multi_step_forward(x_seq: Tensor, single_step_module: Stage) -> Tensor:
    """Run x_seq [T, N, ...] through a module of single steps, step by step."""
    run = _one(single_step_module)
    return torch.stack([run(x_t) for x_t in x_seq.unbind(0)])


def t_last_multi_step_forward(x_seq: Tensor, single_step_module: Stage) -> Tensor:
    """`multi_step_forward` for x_seq [N, ..., T]."""
    return multi_step_forward(x_seq.movedim(-1, 0), single_step_module).movedim(0, -1)


def chunk_multi_step_forward(split_size: int, x_seq: Tensor, multi_step_module: nn.Module) -> Tensor:
    """Run x_seq [T, N, ...] through a module of sequences in chunks of split_size steps; memories are passed on."""
    return torch.cat([multi_step_module(chunk) for chunk in x_seq.split(split_size)])


def seq_to_ann_forward(x_seq: Any, stateless_module: Stage) -> Any:
    """Run x_seq [T, N, ...] (or a tuple of such tensors) through a module without memory, with time folded into the
    batch.
    """
    return folded(_one(stateless_module), x_seq)


def t_last_seq_to_ann_forward(x_seq: Tensor, stateless_module: Stage) -> Tensor:
    """`seq_to_ann_forward` for x_seq [N, ..., T]."""
    return seq_to_ann_forward(x_seq.movedim(-1, 0), stateless_module).movedim(0, -1)


def delay(x_seq: Tensor, delay_steps: int) -> Tensor:
    """Delay x_seq [T, ...] by delay_steps steps; the first steps of the result are zeros."""
    from ranvier.compat.spikingjelly.activation_based.layers import Delay  # here, since layers.py imports this file

    return Delay(delay_steps, step_mode="m")(x_seq)


def first_spike_index(spikes: Tensor) -> Tensor:
    """True at the first spike along the last axis: spikes [..., T] -> mask of the same shape."""
    return (spikes.cumsum(-1) == 1) & (spikes > 0)


def redundant_one_hot(labels: Tensor, num_classes: int, n: int) -> Tensor:
    """labels [N] -> one-hot code [N, num_classes * n], in which each class has n consecutive entries."""
    return nn.functional.one_hot(labels, num_classes).float().repeat_interleave(n, 1)


def temporal_efficient_training_cross_entropy(x_seq: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy of every step, averaged over steps: x_seq [T, N, C, *], target [N, *]."""
    return nn.functional.cross_entropy(x_seq.flatten(0, 1), target.repeat(len(x_seq), *(1,) * (target.dim() - 1)))


KERNELS: dict[str, Callable[..., Tensor]] = {
    "linear": lambda x, y: x @ y.t(),
    "polynomial": lambda x, y, d: (x @ y.t()) ** d,
    "sigmoid": lambda x, y, alpha: torch.sigmoid(alpha * (x @ y.t())),
    "gaussian": lambda x, y, sigma: torch.exp(-(torch.cdist(x, y) ** 2) / (2 * sigma**2)),
}


def kernel_dot_product(x: Tensor, y: Tensor, kernel: str = "linear", *args: float) -> Tensor:
    """Kernel matrix [N, M] of the rows of x [N, F] and y [M, F]."""
    if kernel not in KERNELS:
        raise NotImplementedError(f"kernel_dot_product: kernel must be one of {list(KERNELS)}, got {kernel!r}")
    return KERNELS[kernel](x, y, *args)


def spike_similar_loss(
    spikes: Tensor, labels: Tensor, kernel_type: str = "linear", loss_type: str = "mse", *args: float
) -> Tensor:
    """The distance between two similarity matrices [N, N] of the samples: one of the spikes [N, ...], and one of the
    labels [N, C], which is 1 for samples of the same class, else 0.
    """
    losses = {"mse": nn.functional.mse_loss, "l1": nn.functional.l1_loss, "bce": nn.functional.binary_cross_entropy}
    if loss_type not in losses:
        raise NotImplementedError(f"spike_similar_loss: loss_type must be one of {list(losses)}, got {loss_type!r}")
    spikes = spikes.flatten(1)
    wanted = labels.float() @ labels.float().t()
    found = kernel_dot_product(spikes, spikes, kernel_type, *args)
    if kernel_type == "linear":
        length = spikes.norm(dim=1, keepdim=True)
        found = found / (length @ length.t() + 1e-8)
    return losses[loss_type](found, wanted)


def kaiming_normal_conv_linear_weight(net: nn.Module) -> None:
    """Initialise the weights of all convolutions and linear layers by `kaiming_normal_` with a = sqrt(5)."""
    for module in net.modules():
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, a=5**0.5)


def set_monitor(net: nn.Module, monitor_state: bool = True) -> None:
    """Record the membrane and spikes of every neuron of `net`: `node.monitor` is {"v": [...], "s": [...]}, with one
    NumPy array for each step from now on. False stops recording, and deletes the records. This function is from early
    releases; newer programs use `monitor`.
    """
    for module in net.modules():
        if isinstance(module, MemoryModule) and hasattr(module, "v"):
            if (watch := module.__dict__.pop("_watch", None)) is not None:
                watch.remove()
            module.monitor = {"v": [], "s": []} if monitor_state else False  # type: ignore[assignment]
            if monitor_state:
                module.__dict__["_watch"] = module.register_forward_hook(_watched)


def _watched(node: Any, inputs: Any, spikes: Tensor) -> None:
    if node.step_mode != "s":
        raise ValueError("set_monitor records single steps; for sequences use monitor.OutputMonitor, or store_v_seq")
    node.monitor["v"].append(node.v.detach().cpu().numpy().copy())
    node.monitor["s"].append(spikes.detach().cpu().numpy().copy())


def set_threshold_margin(
    output_layer: nn.Module,
    label_one_hot: Tensor,
    eval_threshold: float = 1.0,
    threshold0: float = 0.9,
    threshold1: float = 1.1,
) -> None:
    """Set the threshold of a readout's neurons. In training it is threshold1 where label_one_hot [N, C] is 1, and
    threshold0 elsewhere; in evaluation it is eval_threshold.
    """
    if output_layer.training:
        at = label_one_hot.bool()
        low = torch.full(at.shape, threshold0, device=at.device)
        output_layer.v_threshold = torch.where(at, threshold1, low)  # type: ignore[assignment]
    else:
        output_layer.v_threshold = eval_threshold  # type: ignore[assignment]

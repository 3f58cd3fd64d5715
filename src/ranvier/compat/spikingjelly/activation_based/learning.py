"""SpikingJelly's learners: they record the input of a synapse and the spikes of a neuron, and learn by the
rules of `ranvier.plasticity`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.rows import renamed
from ranvier.compat.spikingjelly.activation_based.base import MemoryModule
from ranvier.plasticity import Trace, accumulate, eligibility, pair

Function = Callable[[Tensor], Any]
Before = Tensor | float | None  # a trace [N, ...] before the first step; a number or None if there was none


def _same(w: Tensor) -> Tensor:
    return w


def _one(v: Any) -> Any:
    """Return a batch of one sample; numbers and None are returned unchanged."""
    return v.unsqueeze(0) if isinstance(v, Tensor) else v


def _traced(spikes: Tensor, before: Before, rho: float) -> Tensor:
    """Return the additive trace of spikes [T, N, ...]."""
    state = {"trace": before} if isinstance(before, Tensor) else None
    return Trace(rho=rho).to(spikes.device).scan(spikes.detach(), state)[0]


def _change(
    layer: nn.Module, pre: Tensor, post: Tensor, x: Tensor, y: Tensor, f_pre: Function, f_post: Function, reduction: str
) -> Tensor:
    """Return the weight change of `pair` for spikes and traces [T, N, ...]: summed over steps, reduced over the
    batch.
    """
    bound = lambda w: (f_post(w), f_pre(w))  # noqa: E731
    return pair(
        pre, post, x, y, layer.weight, plus=1.0, minus=1.0, bound=bound, synapse=layer, reduction=reduction  # type: ignore
    )  # fmt: skip


def stdp_multi_step(
    layer: nn.Module,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Before,
    trace_post: Before,
    tau_pre: float,
    tau_post: float,
    f_pre: Function = _same,
    f_post: Function = _same,
) -> tuple[Tensor, Tensor, Tensor]:
    """in_spike [T, N, *in], out_spike [T, N, *out] -> both traces after the last step, and the change of the weight.

    layer: Linear or a convolution. Both traces decay by a factor of 1 - 1 / tau per step. With the spikes pre and post,
    and their traces x and y, the change is f_post(w) times the sum of post x, minus f_pre(w) times the sum of y pre,
    over steps and batch.
    """
    x = _traced(in_spike, trace_pre, 1.0 - 1.0 / tau_pre)
    y = _traced(out_spike, trace_post, 1.0 - 1.0 / tau_post)
    return x[-1], y[-1], _change(layer, in_spike, out_spike, x, y, f_pre, f_post, "sum")


def stdp_linear_single_step(
    fc: nn.Module,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Before,
    trace_post: Before,
    tau_pre: float,
    tau_post: float,
    f_pre: Function = _same,
    f_post: Function = _same,
) -> tuple[Tensor, Tensor, Tensor]:
    """`stdp_multi_step` for one step: in_spike [N, *in], out_spike [N, *out]."""
    steps = in_spike.unsqueeze(0), out_spike.unsqueeze(0)
    return stdp_multi_step(fc, *steps, trace_pre, trace_post, tau_pre, tau_post, f_pre, f_post)


# One function for all: the rule reads the kind of connection from the layer.
stdp_conv1d_single_step = stdp_conv2d_single_step = renamed(stdp_linear_single_step, conv="fc")


def mstdp_linear_single_step(
    fc: nn.Module,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Before,
    trace_post: Before,
    tau_pre: float,
    tau_post: float,
    f_pre: Function = _same,
    f_post: Function = _same,
) -> tuple[Tensor, Tensor, Tensor]:
    """in_spike [N, *in], out_spike [N, *out] -> both traces, and the eligibility of each sample [N, *weight].

    Traces decay by a factor of exp(-1 / tau) per step.
    """
    pre, post = in_spike.unsqueeze(0), out_spike.unsqueeze(0)
    x = _traced(pre, trace_pre, math.exp(-1.0 / tau_pre))
    y = _traced(post, trace_post, math.exp(-1.0 / tau_post))
    return x[0], y[0], _change(fc, pre, post, x, y, f_pre, f_post, "none")


def mstdpet_linear_single_step(
    fc: nn.Module,
    in_spike: Tensor,
    out_spike: Tensor,
    trace_pre: Before,
    trace_post: Before,
    tau_pre: float,
    tau_post: float,
    tau_trace: float,
    f_pre: Function = _same,
    f_post: Function = _same,
) -> tuple[Tensor, Tensor, Tensor]:
    """`mstdp_linear_single_step` of one sample: in_spike [in], out_spike [out] -> traces [in] and [out], and the
    eligibility [out, in].

    tau_trace has no effect here: `MSTDPETLearner` computes the eligibility trace.
    """
    x, y, eligible = mstdp_linear_single_step(
        fc, _one(in_spike), _one(out_spike), _one(trace_pre), _one(trace_post), tau_pre, tau_post, f_pre, f_post
    )
    return x[0], y[0], eligible[0]


class _Learner(MemoryModule):
    """Records the input of `synapse` and the output of `sn` while they run; `step` learns from them."""

    def __init__(
        self, step_mode: str, synapse: nn.Module, sn: nn.Module, tau_pre: float, tau_post: float, f_pre: Function,
        f_post: Function,
    ):  # fmt: skip
        super().__init__(step_mode)
        self.synapse, self.tau_pre, self.tau_post = synapse, tau_pre, tau_post
        self.f_pre, self.f_post, self.enabled = f_pre, f_post, True
        self.register_memory("trace_pre", None)
        self.register_memory("trace_post", None)
        self._pre: list[Tensor] = []
        self._post: list[Tensor] = []
        synapse.register_forward_hook(self._passed)
        sn.register_forward_hook(self._fired)

    def _passed(self, synapse: nn.Module, given: tuple[Tensor, ...], y: Any) -> None:
        self._see(self._pre, given[0])

    def _fired(self, sn: nn.Module, given: Any, y: Tensor) -> None:
        self._see(self._post, y)

    def _see(self, seen: list[Tensor], spikes: Any) -> None:
        if self.enabled and self.training:
            seen.append(spikes.detach() if self.step_mode == "m" else spikes.detach().unsqueeze(0))

    def _take(self) -> tuple[Tensor, Tensor]:
        """Return the spikes of synapse and neuron, [T, N, ...] each, that were recorded since the last `step`."""
        if not self._pre or len(self._pre) != len(self._post):
            raise ValueError(
                f"{type(self).__name__}: recorded {len(self._pre)} inputs of the synapse and {len(self._post)} outputs "
                f"of the neuron since the last step(); run the net, in training mode, before step()"
            )
        pre, post = torch.cat(self._pre), torch.cat(self._post)
        self._pre.clear()
        self._post.clear()
        return pre, post

    def _give(self, change: Tensor, on_grad: bool) -> Tensor | None:
        return accumulate(self.synapse.weight, change) if on_grad else change  # type: ignore[arg-type, func-returns-value]

    def reset(self) -> None:
        """Reset the traces, and delete what was recorded."""
        super().reset()
        self._pre.clear()
        self._post.clear()

    def enable(self) -> None:
        """Record again."""
        self.enabled = True

    def disable(self) -> None:
        """Stop recording until `enable()`."""
        self.enabled = False


class STDPLearner(_Learner):
    """Pair-based STDP by `stdp_multi_step`. With on_grad, `step` subtracts the change from the weight's gradient."""

    def __init__(
        self,
        step_mode: str,
        synapse: nn.Module,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        f_pre: Function = _same,
        f_post: Function = _same,
    ):
        super().__init__(step_mode, synapse, sn, tau_pre, tau_post, f_pre, f_post)

    @torch.no_grad()
    def step(self, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        given = *self._take(), self.trace_pre, self.trace_post, self.tau_pre, self.tau_post, self.f_pre, self.f_post
        self.trace_pre, self.trace_post, change = stdp_multi_step(self.synapse, *given)
        return self._give(scale * change, on_grad)


class _Rewarded(_Learner):
    """Base class of learners with a reward, which multiplies the eligibility of the previous step. decay, gain: those
    of the eligibility trace.
    """

    def __init__(self, *given: Any, decay: float, gain: float, batch_size: int | None = None):
        super().__init__(*given)
        self.decay, self.gain, self.batch_size = decay, gain, batch_size
        self.register_memory("eligibility", 0.0)
        self.register_memory("trace_e", 0.0)

    @torch.no_grad()
    def step(self, reward: Tensor | float, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        """Learn from the recorded spikes. reward: one number, or one per sample [N]; it gets no gradient."""
        change: Any = 0.0
        of_each = torch.as_tensor(reward).to(self.synapse.weight).reshape(-1, *(1,) * self.synapse.weight.dim())  # type: ignore
        for in_spike, out_spike in zip(*self._take(), strict=True):
            if self.batch_size not in (None, len(in_spike)):
                raise ValueError(
                    f"{type(self).__name__}: batch_size={self.batch_size}, but the spikes are {tuple(in_spike.shape)}"
                )
            self.trace_e = eligibility(self.trace_e, self.eligibility, 0.0, self.decay, self.gain)  # type: ignore
            change = change + scale * (of_each * self.trace_e).sum(0)
            given = self.trace_pre, self.trace_post, self.tau_pre, self.tau_post, self.f_pre, self.f_post
            if in_spike.dim() < self.synapse.weight.dim():  # type: ignore  # one sample, without an axis for it
                in_spike, out_spike = _one(in_spike), _one(out_spike)
            after = mstdp_linear_single_step(self.synapse, in_spike, out_spike, *given)
            self.trace_pre, self.trace_post, self.eligibility = after
        return self._give(change.expand_as(self.synapse.weight), on_grad)  # type: ignore[arg-type]


class MSTDPLearner(_Rewarded):
    """Reward-modulated STDP: the change is the eligibility of the previous step times the reward."""

    def __init__(
        self,
        step_mode: str,
        batch_size: int,
        synapse: nn.Module,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        f_pre: Function = _same,
        f_post: Function = _same,
    ):
        given = step_mode, synapse, sn, tau_pre, tau_post, f_pre, f_post
        super().__init__(*given, decay=0.0, gain=1.0, batch_size=batch_size)


class MSTDPETLearner(_Rewarded):
    """Reward-modulated STDP with an eligibility trace: e = e * exp(-1 / tau_trace) + eligibility / tau_trace."""

    def __init__(
        self,
        step_mode: str,
        synapse: nn.Module,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        tau_trace: float,
        f_pre: Function = _same,
        f_post: Function = _same,
    ):
        decay, gain = math.exp(-1.0 / tau_trace), 1.0 / tau_trace
        super().__init__(step_mode, synapse, sn, tau_pre, tau_post, f_pre, f_post, decay=decay, gain=gain)
        self.tau_trace = tau_trace

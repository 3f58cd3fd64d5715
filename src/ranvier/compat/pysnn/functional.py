"""PySNN's update functions. They are elementwise. Most of them change their first argument in place and return it."""

from typing import Any

import torch
from torch import Tensor

from ranvier.nn.neurons.traced import RELAX


def exponential_trace_update(trace: Tensor, x: Tensor, alpha_t: Any, tau_t: Any, dt: Any) -> Tensor:
    """trace + (dt / tau_t) * (alpha_t * x - trace), in place."""
    return trace.copy_(RELAX["exponential"](trace, alpha_t * x, 1 - dt / tau_t))


def linear_trace_update(trace: Tensor, x: Tensor, alpha_t: Any, trace_decay: Any, dt: Any = None) -> Tensor:
    """trace * trace_decay + alpha_t * x, in place; dt is not used."""
    return trace.copy_(RELAX["linear"](trace, alpha_t * x, trace_decay))


def exponential_thresh_update(thresh: Tensor, x: Tensor, alpha_thresh: Any, tau_thresh: Any, dt: Any) -> Tensor:
    """thresh + (dt / tau_thresh) * (alpha_thresh * x - thresh), in place; it relaxes to 0."""
    return exponential_trace_update(thresh, x, alpha_thresh, tau_thresh, dt)


def linear_thresh_update(thresh: Tensor, x: Tensor, alpha_thresh: Any, thresh_decay: Any, dt: Any = None) -> Tensor:
    """thresh * thresh_decay + alpha_thresh * x, in place; it relaxes to 0. dt is not used."""
    return linear_trace_update(thresh, x, alpha_thresh, thresh_decay, dt)


def if_voltage_update(v_cur: Tensor, v_in: Tensor, alpha: Any, refrac_counts: Tensor) -> Tensor:
    """Add alpha * v_in to v_cur, in place, for the neurons that are not refractory (refrac_counts is 0)."""
    return v_cur.copy_(torch.where(refrac_counts == 0, v_cur + alpha * v_in, v_cur))


def lif_linear_voltage_update(
    v_cur: Tensor, v_rest: Any, v_in: Tensor, alpha_v: Any, v_decay: Any, dt: Any, refrac_counts: Tensor
) -> Tensor:
    """v_rest + (v_cur - v_rest) * v_decay + alpha_v * v_in, or v_rest while refractory; a new tensor. dt is unused."""
    return torch.where(
        refrac_counts == 0, v_rest + RELAX["linear"](v_cur - v_rest, alpha_v * v_in, v_decay), torch.as_tensor(v_rest)
    )


def lif_exponential_voltage_update(
    v_cur: Tensor, v_rest: Any, v_in: Tensor, alpha_v: Any, tau_v: Any, dt: Any, refrac_counts: Tensor
) -> Tensor:
    """v_cur + (dt / tau_v) * (v_rest - v_cur + alpha_v * v_in), in place; unchanged while refractory."""
    v = v_rest + RELAX["exponential"](v_cur - v_rest, alpha_v * v_in, 1 - dt / tau_v)
    return v_cur.copy_(torch.where(refrac_counts == 0, v, v_cur))


def fede_voltage_update(
    v_cur: Tensor,
    v_rest: Any,
    v_in: Tensor,
    alpha_v: Any,
    tau_v: Any,
    dt: Any,
    refrac_counts: Tensor,
    pre_trace: Tensor,
) -> Tensor:
    """`lif_exponential_voltage_update` whose input is the sum of v_in - pre_trace over the last axis."""
    drive = (v_in - pre_trace).sum(-1)
    return lif_exponential_voltage_update(v_cur, v_rest, drive, alpha_v, tau_v, dt, refrac_counts)

"""Learning rules: pure functions from the presynaptic and postsynaptic activity of a synapse to a change of its weight.

The inputs of a rule are whole sequences, and a rule is one or two Hebbian products (see `hebb`), so there is no loop
over time. The arguments of the rules:

* pre, x [T, B, *in]: presynaptic spikes and their trace; post, y [T, B, *out]: postsynaptic ones. A trace includes
  the spike of the same step (as the output of `Trace` does);
* weight: the weight at the beginning of the sequence; rules that depend on the weight use this value at all steps. To
  use the changed weight at each step, call the rule with sequences of one step;
* synapse: the layer with the weight (see `hebb`); None is a matrix [out, in];
* reduction over the batch: "mean" (of the single changes), "sum", or "none" (one change per sample, axis B first).

A rule returns the change and does not modify the weight; see `apply` and `accumulate`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.plasticity.hebb import hebb, projection
from ranvier.plasticity.reward import discounted
from ranvier.plasticity.trace import Trace

# The factors (f+, f-) of potentiation and depression, for a weight w between low and high and an exponent mu.
BOUNDS: dict[str, Callable[[Tensor, float, float, float], tuple[Any, Any]]] = {
    "additive": lambda w, low, high, mu: (1.0, 1.0),
    "multiplicative": lambda w, low, high, mu: (high - w, w - low),
    "power": lambda w, low, high, mu: ((high - w).clamp(min=0) ** mu, (w - low).clamp(min=0) ** mu),
}


def pair(
    pre: Tensor,
    post: Tensor,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    *,
    plus: float = 1e-2,
    minus: float = 1e-2,
    bound: str | Callable[[Tensor], tuple[Any, Any]] = "additive",
    low: float = 0.0,
    high: float = 1.0,
    mu: float = 0.5,
    synapse: nn.Module | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Pair-based STDP: a presynaptic spike before a postsynaptic spike strengthens the synapse; the opposite order
    weakens it.

    dw = plus f+(w) sum_t post x - minus f-(w) sum_t y pre, where f+ and f- are, by `bound`: "additive" 1 and 1;
    "multiplicative" high - w and w - low; "power" (high - w)^mu and (w - low)^mu; or any function w -> (f+, f-).

    Song, Miller & Abbott, Nat. Neurosci. 3:919, 2000; van Rossum et al., J. Neurosci. 20:8812, 2000; Guetig et al., J.
    Neurosci. 23:3697, 2003. An unknown name for `bound` raises a ValueError.

    >>> import torch
    >>> from ranvier.plasticity import Trace, pair
    >>> pre, post = torch.tensor([1.0, 0.0]).reshape(2, 1, 1), torch.tensor([0.0, 1.0]).reshape(2, 1, 1)
    >>> trace = Trace(rho=0.5)
    >>> pair(pre, post, trace(pre), trace(post), torch.zeros(1, 1), plus=1.0)
    tensor([[0.5000]])
    """
    up, down = _bounded("pair", weight.detach(), bound, low, high, mu)
    return plus * up * hebb(synapse, x, post, reduction) - minus * down * hebb(synapse, pre, y, reduction)


def _bounded(
    who: str, w: Tensor, bound: str | Callable[[Tensor], tuple[Any, Any]], low: float, high: float, mu: float
) -> tuple[Any, Any]:
    if not callable(bound) and bound not in BOUNDS:
        raise ValueError(f"{who}: bound must be one of {list(BOUNDS)} or a function of the weight, got {bound!r}")
    return bound(w) if callable(bound) else BOUNDS[bound](w, low, high, mu)


@cache
def _trace(rho: float, gain: float, dtype: torch.dtype, device: torch.device) -> Trace:
    return Trace(rho=rho, gain=gain).to(device, dtype)


def stdp(
    pre: Tensor,
    post: Tensor,
    weight: Tensor,
    *,
    rho_pre: float = 0.95,
    rho_post: float = 0.95,
    plus: float = 1e-2,
    minus: float = 1e-2,
    bound: str | Callable[[Tensor], tuple[Any, Any]] = "additive",
    low: float = 0.0,
    high: float = 1.0,
    mu: float = 0.5,
    synapse: nn.Module | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Pair-based STDP, computed directly from spikes: the result of `pair` with additive traces, in half the time.

    dw = plus f+(w) sum_{s <= t} rho_pre^(t - s) post[t] pre[s] - minus f-(w) sum_{s <= t} rho_post^(t - s) post[s]
    pre[t], f+ and f- by `bound`, as in `pair`.

    The first sum is computed in another order: for each presynaptic spike, over the postsynaptic spikes that follow it,
    as a trace that runs backward in time. Then both sums run over presynaptic spikes. rho_pre and rho_post in [0, 1]
    are the decays of the traces per step.

    >>> import torch
    >>> from ranvier.plasticity import stdp
    >>> pre, post = torch.tensor([1.0, 0.0]).reshape(2, 1, 1), torch.tensor([0.0, 1.0]).reshape(2, 1, 1)
    >>> stdp(pre, post, torch.zeros(1, 1), rho_pre=0.5, plus=1.0)
    tensor([[0.5000]])
    """
    up, down = _bounded("stdp", weight.detach(), bound, low, high, mu)
    with torch.no_grad():
        earned = _trace(rho_pre, plus, post.dtype, post.device)(post.flip(0)).flip(0)
        lost = _trace(rho_post, minus, post.dtype, post.device)(post)
        if not isinstance(up, Tensor) and up == down == 1.0:  # no dependence on the weight: one product for both
            return hebb(synapse, pre, earned - lost, reduction)
        return up * hebb(synapse, pre, earned, reduction) - down * hebb(synapse, pre, lost, reduction)


def triplet(
    pre: Tensor,
    post: Tensor,
    x: Tensor,
    x_slow: Tensor,
    y: Tensor,
    y_slow: Tensor,
    *,
    plus: tuple[float, float] = (0.0, 6.5e-3),
    minus: tuple[float, float] = (7.1e-3, 0.0),
    synapse: nn.Module | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Triplet STDP: the effect of a pair of spikes depends on earlier spikes too, as measured in brain slices.

    dw = sum_t post x (plus[0] + plus[1] y_slow-) - pre y (minus[0] + minus[1] x_slow-), where y_slow- and x_slow- are
    the slow traces just before the spike of the step. The defaults are the minimal model for visual cortex.

    x, y: fast traces, as in `pair`; x_slow, y_slow: slow additive traces of gain 1. Pfister & Gerstner, J. Neurosci.
    26:9673, 2006.
    """
    strengthening = post * (plus[0] + plus[1] * (y_slow - post))
    weakening = pre * (minus[0] + minus[1] * (x_slow - pre))
    return hebb(synapse, x, strengthening, reduction) - hebb(synapse, weakening, y, reduction)


def rewarded(
    pre: Tensor,
    post: Tensor,
    x: Tensor,
    y: Tensor,
    reward: Tensor,
    *,
    plus: float = 1.0,
    minus: float = 1.0,
    decay: float = 0.0,
    synapse: nn.Module | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Reward-modulated STDP, with eligibility trace (MSTDPET, decay > 0) or without (MSTDP, decay = 0).

    e_t = decay e_{t-1} + plus post_t x_t - minus y_t pre_t (per synapse and sample), dw = sum_t reward_t e_t.

    reward: [T] or [T, B], dimensionless, of either sign. decay in [0, 1] per step. No eligibility trace is stored: dw
    equals the pair rule in which each spike is multiplied by the discounted reward that follows it (`discounted`).
    Florian, Neural Comput. 19:1468, 2007; Izhikevich, Cereb. Cortex 17:2443, 2007.

    >>> import torch
    >>> from ranvier.plasticity import rewarded
    >>> z, late = torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1), torch.tensor([0.0, 0.0, 1.0])
    >>> rewarded(z, z, z, 0 * z, late, decay=0.5)
    tensor([[0.2500]])
    """
    r = discounted(reward, decay, pre)
    shape = *r.shape, *[1] * (post.dim() - 2)
    strengthened, weakened = post * r.view(shape), y * r.view(shape)
    return plus * hebb(synapse, x, strengthened, reduction) - minus * hebb(synapse, pre, weakened, reduction)


def fede(
    x: Tensor, weight: Tensor, *, initial: float = 0.5, a: float = 0.5, synapse: nn.Module | None = None
) -> Tensor:
    """The STDP rule of Paredes-Valles et al.: synapses of recently active inputs are strengthened, others weakened.

    n = x / max x (the maximum over all numbers of a step), d = w - initial;
    dw = sum_t of the mean over batch and places of exp(-d) (exp(n) - a) - exp(d) (exp(1 - n) - a).

    x [T, B, *in]: presynaptic traces at the steps at which the weight is learned. A step without any positive trace
    changes nothing. a, in [0, 1], and initial are the parameters of the equation. Paredes-Valles, Scheper & de Croon,
    IEEE TPAMI 42:2051, 2020.

    >>> import torch
    >>> from ranvier.plasticity import fede
    >>> fede(torch.tensor([[[1.0, 0.0]]]), torch.full((1, 2), 0.5))
    tensor([[ 1.7183, -1.7183]])
    """
    if not 0.0 <= a <= 1.0:
        raise ValueError(f"fede: a must lie in [0, 1], got {a!r}")
    top = x.flatten(1).amax(1).view(-1, *[1] * (x.dim() - 1))
    seen = top > 0
    n, steps = torch.where(seen, x / top, 0.0), seen.sum()
    ones = torch.ones_like(projection(synapse)(weight.detach(), x))
    places = ones[0, 0, 0].numel()
    # exp(n) - 1 is used because it is 0 for padded inputs of a convolution, and at steps without a positive trace
    up = hebb(synapse, torch.expm1(n), ones) / places + steps
    down = torch.e * (hebb(synapse, torch.expm1(-n), ones) / places + steps)
    return balance(up, down, weight, initial, a * steps)


def balance(up: Tensor, down: Tensor, weight: Tensor, initial: float, a: float | Tensor) -> Tensor:
    """Return exp(-d) (up - a) - exp(d) (down - a) with d = weight - initial. The further a weight is from `initial`,
    the smaller are changes that move it further away.

    up and down are exp(n) and exp(1 - n) for a normalised trace n, per synapse or averaged; see `fede`.
    """
    d = weight.detach() - initial
    return torch.exp(-d) * (up - a) - torch.exp(d) * (down - a)


def oja(
    pre: Tensor, post: Tensor, weight: Tensor, *, synapse: nn.Module | None = None, reduction: str = "mean"
) -> Tensor:
    """Oja's rule: Hebbian growth, limited by a decay that drives the weight vector of each neuron to length 1.

    dw = sum_t post pre - post^2 w. pre, post: rates, spikes or traces. For weights that are shared by several places
    (convolutions), the decay is also summed over places. Oja, J. Math. Biol. 15:267, 1982.

    >>> import torch
    >>> from ranvier.plasticity import oja
    >>> oja(torch.ones(1, 1, 1), torch.full((1, 1, 1), 2.0), torch.tensor([[0.25]]))
    tensor([[1.]])
    """
    power = post.square().unsqueeze(-1).flatten(3).sum((0, 3))  # [B, O]
    power = power.view(*power.shape, *[1] * (weight.dim() - 1))
    power = {"mean": power.mean(0), "sum": power.sum(0)}.get(reduction, power)
    return hebb(synapse, pre, post, reduction) - power * weight.detach()


def voltage(
    pre: Tensor,
    x: Tensor,
    v: Tensor,
    v_minus: Tensor,
    v_plus: Tensor,
    *,
    plus: float = 8e-5,
    minus: float = 14e-5,
    theta_minus: float = -70.6,
    theta_plus: float = -45.3,
    synapse: nn.Module | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Voltage-dependent STDP (Clopath): it depends on the postsynaptic membrane potential instead of postsynaptic
    spikes.

    dw = sum_t plus x [v - theta+]+ [v_plus - theta-]+ - minus pre [v_minus - theta-]+, with [u]+ = max(u, 0).

    v [T, B, *out]: the membrane (`ranvier.record(net, x, "v")`); v_minus, v_plus: its low-pass filtered copies, with a
    longer and a shorter time constant (`Trace(kind="euler")`), at their values before the step; x: presynaptic trace.
    The defaults are in mV, for visual cortex. Clopath et al., Nat. Neurosci. 13:344, 2010.
    """
    strengthening = (v - theta_plus).relu() * (v_plus - theta_minus).relu()
    weakening = (v_minus - theta_minus).relu()
    return plus * hebb(synapse, x, strengthening, reduction) - minus * hebb(synapse, pre, weakening, reduction)

"""Learning from delayed rewards: discounted rewards and eligibility traces."""

import torch
from torch import Tensor

from ranvier.nn.neurons.leaky import LI


def discounted(reward: Tensor, decay: float, like: Tensor | None = None) -> Tensor:
    """Return the discounted reward of every step: R_t = sum over s >= t of decay^(s - t) reward_s.

    reward [T] or [T, B]; decay in [0, 1] per step; returns [T, 1] or [T, B], in the dtype and on the device of `like`
    if given. Multiplying each event by R gives the same sum as multiplying a decaying eligibility trace by the reward
    at each step.

    >>> import torch
    >>> from ranvier.plasticity import discounted
    >>> discounted(torch.tensor([0.0, 0.0, 1.0]), 0.5).flatten()
    tensor([0.2500, 0.5000, 1.0000])
    """
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"decay of the eligibility must lie in [0, 1] per step, got {decay!r}")
    if reward.dim() not in (1, 2):
        raise ValueError(f"reward must be [T] or [T, B], got shape {tuple(reward.shape)}")
    if like is not None:
        if len(reward) != len(like) or (reward.dim() == 2 and reward.shape[1] != like.shape[1]):
            raise ValueError(f"reward is {tuple(reward.shape)}, but the spikes are [T, B, ...] = {tuple(like.shape)}")
        reward = reward.to(like)
    rows = (reward if reward.dim() == 2 else reward.unsqueeze(1)).unsqueeze(-1)
    with torch.no_grad():
        return LI(beta=decay).to(rows.device)(rows.flip(0)).flip(0).squeeze(-1)


def eligibility(
    e: Tensor, strengthened: Tensor, weakened: Tensor, decay: float, plus: float = 1.0, minus: float = 1.0
) -> Tensor:
    """Update an explicit eligibility trace by one step: decay e + plus strengthened - minus weakened.

    This is for agents that learn while they act. strengthened, weakened: the Hebbian products of the step, `post x` and
    `y pre`, in the shape of e. For a whole episode, `rewarded` computes the same change without storing e.
    """
    return decay * e + plus * strengthened - minus * weakened

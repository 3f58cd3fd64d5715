"""A spiking policy balances a pole on a cart, learned by plain policy gradients (REINFORCE).

`pip install "ranvier[gymnasium]"`, then `python examples/cart_pole.py`: about a minute on one core.

Sixteen carts run side by side. To act, the net is a `Stream`: one step of the net for one step of the world. To
learn, what was seen is run again as one sequence `[T, B, 4]`: the same spikes, now with gradients, in one fused pass.
"""

import sys

import gymnasium
import torch
from torch import nn
from torch.distributions import Categorical

import ranvier as rv

SCALE = torch.tensor([1.0, 1.0, 8.0, 2.0])  # position, speed, angle, its speed: all about as large


def policy() -> nn.Module:
    """Observations [T, B, 4] -> scores of left and right [T, B, 2]."""
    return rv.Sequential(nn.Linear(4, 64), rv.LIF(beta=0.5), nn.Linear(64, 2), rv.LI(beta=0.5))


@torch.no_grad()
def play(net: nn.Module, worlds: list, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One episode in each world: observations [T, B, 4], actions [T, B], and where the episode still ran [T, B]."""
    stream = rv.Stream(net)
    now = torch.stack([torch.from_numpy(w.reset(seed=seed + k)[0]) for k, w in enumerate(worlds)]) * SCALE
    alive = torch.ones(len(worlds), dtype=torch.bool)
    seen, done, ran = [], [], []
    while alive.any():
        actions = Categorical(logits=stream(now)).sample()
        seen.append(now.clone())
        done.append(actions)
        ran.append(alive.clone())
        for k in alive.nonzero().flatten().tolist():
            observation, _, fell, timeout, _ = worlds[k].step(int(actions[k]))
            now[k] = torch.from_numpy(observation) * SCALE
            alive[k] = not (fell or timeout)
    return torch.stack(seen), torch.stack(done), torch.stack(ran)


def to_come(ran: torch.Tensor, discount: float = 0.98) -> torch.Tensor:
    """What is still to come at each step, one for each step that the pole stands: [T, B]."""
    returns, after = torch.zeros(ran.shape), torch.zeros(ran.shape[1])
    for t in reversed(range(len(ran))):
        after = ran[t] * (1.0 + discount * after)
        returns[t] = after
    return returns


def main(updates: int = 30, seed: int = 0, worlds: int = 16) -> list[float]:
    """The mean length of the episodes before each update; 500 is the longest possible."""
    torch.manual_seed(seed)
    net, carts = policy(), [gymnasium.make("CartPole-v1") for _ in range(worlds)]
    adam, lengths = torch.optim.Adam(net.parameters(), 1e-2), []
    for update in range(updates):
        seen, actions, ran = play(net, carts, seed=1000 * update)
        returns = to_come(ran)
        better = (returns - returns[ran].mean()) / (returns[ran].std() + 1e-6)
        likely = Categorical(logits=net(seen)).log_prob(actions)
        adam.zero_grad()
        (-(likely * better)[ran].mean()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        lengths.append(ran.sum(0).float().mean().item())
        if update % 10 == 0 or update == updates - 1:
            print(f"update {update:3d}: the pole stands for {lengths[-1]:.0f} steps")
    return lengths


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

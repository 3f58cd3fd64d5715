"""Learning in a stream while it runs."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.verbs import State
from ranvier.online.bound import Bound
from ranvier.online.learner import Learner
from ranvier.online.methods import ONLINE, WHOLE


class Learning:
    """How a stream learns, for `ranvier.Stream(net, learn=...)`: a loss for each step, an optimiser, and a gradient.

    loss: a function (y_t, target) -> one number, where y_t [B, *features'] is the output of a step, and `target` was
    passed to the stream together with x_t.
    optimiser: a function that builds an optimiser for the parameters, such as `lambda p: torch.optim.Adam(p, lr=1e-3)`.
    gradient, feedback, features: see `Learner`; a gradient that goes back through time raises an error.
    every: the number of losses after which the optimiser makes a step; their gradients are summed.
    discount: for delayed rewards, in [0, 1]; None if there are no rewards. With a discount the optimiser makes a step
    only when `stream.reward(r)` is called. Its gradient is r times the discounted sum of the gradients of all earlier
    losses: the last loss has weight 1, the one before `discount`, the one before that `discount` squared, and so on.
    With the loss -log p(action) this is policy gradient with eligibility traces.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(ranvier.Linear(3, 8), ranvier.LIF(), ranvier.Linear(8, 1), ranvier.LI())
    >>> learn = ranvier.online.Learning(torch.nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.01))
    >>> stream = ranvier.Stream(net, learn=learn)
    >>> for _ in range(100):
    ...     y_t = stream(torch.ones(1, 3), torch.full((1, 1), 0.5))  # learns at every step
    >>> abs(y_t.item() - 0.5) < 0.2
    True
    """

    def __init__(
        self,
        loss: Callable[[Any, Any], Tensor],
        optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        gradient: str | Mapping[str, str] = "eprop",
        feedback: str = "symmetric",
        every: int = 1,
        discount: float | None = None,
        features: Any = None,
    ):
        if isinstance(optimiser, torch.optim.Optimizer) or not callable(optimiser):
            raise TypeError(
                f"Learning: optimiser must be a function of the parameters, got {optimiser!r}; "
                f"write lambda p: torch.optim.Adam(p, lr=1e-3)"
            )
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"Learning: every must be a number of losses, at least 1, got {every!r}")
        if discount is not None and not 0.0 <= discount <= 1.0:
            raise ValueError(f"Learning: discount must lie in [0, 1], got {discount!r}")
        if discount is not None and every != 1:
            raise ValueError(f"Learning: with a discount the optimiser makes a step at each reward; leave out {every=}")
        self.loss, self.optimiser, self.gradient, self.feedback = loss, optimiser, gradient, feedback
        self.every, self.discount, self.features = every, discount, features

    def begin(self, net: nn.Module) -> "Lesson":
        """Return the learning of a network, at the start of a stream."""
        return Lesson(self, net)


class Lesson:
    """A network that learns in a stream: its state, its traces, and its optimiser."""

    def __init__(self, how: Learning, net: Any):
        self.how, self.learner = how, Learner(net, how.gradient, how.feedback, how.features)
        each = self.learner.each.values()
        if not any(name in ONLINE for name in each):
            raise ValueError(
                f"Stream: gradient={how.gradient!r} goes back through time, but a stream stores no past steps; use one "
                f"of {', '.join(ONLINE)}, or learn from whole sequences, as {' and '.join(WHOLE)} do"
            )
        self.parameters = [p for p in self.learner.parameters() if p.requires_grad]
        self.optimiser = how.optimiser(self.parameters)
        self._carried: dict[str, Any] | None = None
        self._bound: Bound | None = None
        self.losses = 0

    def __call__(self, x_t: Tensor, target: Any = None) -> Any:
        """Run one step: x_t [B, *features] -> y_t. The network learns if a target is given."""
        if self._bound is None or not self._bound.serves(x_t):
            self._carried = self.carried
            self._bound = Bound.of(self.learner, x_t, self._carried or {})
        if target is not None and self.how.discount is not None:
            self._fade(self.how.discount)
        y_t = self._at_once(x_t, target) if self._bound is not None else self._by_graph(x_t, target)
        if target is not None:
            self.losses += 1
            if self.how.discount is None and self.losses % self.how.every == 0:
                self.optimiser.step()
                self.optimiser.zero_grad()
        return y_t

    def _at_once(self, x_t: Tensor, target: Any) -> Tensor:
        """Run the prepared step (`bound.py`), for which torch's autograd graph contains only the loss."""
        assert self._bound is not None
        y_t = self._bound.forward(x_t)
        if target is None:
            self._bound.backward(None)
            return y_t
        with torch.enable_grad():
            loss = self.how.loss(y_t.requires_grad_(), target)
        (g,) = torch.autograd.grad(loss, [y_t])
        self._bound.backward(g)
        return y_t.detach()

    def _by_graph(self, x_t: Tensor, target: Any) -> Any:
        with torch.enable_grad():
            y, self._carried = self.learner.scan(x_t.unsqueeze(0), self._carried, reuse=True)
            if target is not None:
                self.how.loss(y[0], target).backward()
        self.learner.advance()
        return y[0].detach()

    @property
    def carried(self) -> dict[str, Any] | None:
        """State and traces by layer; None before the first step."""
        return self._carried if self._bound is None else self._bound.carried()

    @carried.setter
    def carried(self, carried: dict[str, Any] | None) -> None:
        self._carried, self._bound = carried, None

    @torch.no_grad()
    def _fade(self, factor: float) -> None:
        for p in self.parameters:
            if p.grad is not None:
                p.grad.mul_(factor)

    @torch.no_grad()
    def reward(self, value: float) -> None:
        """Learn from a reward for all steps up to now, by one step of the optimiser."""
        if self.how.discount is None:
            raise ValueError("Stream: a reward needs Learning(..., discount=0.9), which sets how far it reaches back")
        before = [_copied(p.grad) for p in self.parameters]
        self._fade(float(value))
        self.optimiser.step()
        for p, g in zip(self.parameters, before, strict=True):
            p.grad = g

    @property
    def state(self) -> State | None:
        """The state of the network after the last step; None before the first step."""
        if self.carried is None:
            return None
        return {path: found["state"] for path, found in self.carried.items() if found.get("state") is not None}

    @state.setter
    def state(self, state: State | None) -> None:
        """Continue from a state. The traces start at zero, so earlier steps do not affect the gradients."""
        self.carried = None if state is None else {path: {"state": inner} for path, inner in state.items()}

    def reset(self) -> None:
        """Reset the state, the traces and the gradients; learned parameters are kept."""
        self.carried = None
        self.optimiser.zero_grad()

    def __getstate__(self) -> dict[str, Any]:
        # compiled code contains addresses, so a copy or pickle must not include it
        return {**self.__dict__, "_carried": _copied(self.carried), "_bound": None}

    def state_dict(self) -> dict[str, Any]:
        """Return all tensors and numbers that are needed to continue with exactly the same results."""
        return {
            "net": self.learner.state_dict(),
            "carried": _copied(self.carried),
            "optimiser": self.optimiser.state_dict(),
            "gradients": [_copied(p.grad) for p in self.parameters],
            "losses": self.losses,
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from the result of `state_dict`; torch's random state is restored too."""
        self.learner.load_state_dict(saved["net"])
        self.optimiser.load_state_dict(saved["optimiser"])  # type: ignore[arg-type]
        self.carried, self.losses = _copied(saved["carried"]), saved["losses"]
        for p, g in zip(self.parameters, saved["gradients"], strict=True):
            p.grad = _copied(g)
        torch.set_rng_state(saved["random"])


def _copied(value: Any) -> Any:
    """Return a copy of a tensor or a dictionary of tensors. A copy is needed because traces and gradients are
    overwritten.
    """
    if isinstance(value, Tensor):
        return value.clone()
    return {k: _copied(v) for k, v in value.items()} if isinstance(value, dict) else value

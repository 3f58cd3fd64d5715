"""Neurons with parameters for every step: gated, and the parallel family."""

from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly import surrogate
from ranvier.compat.spikingjelly.memory import Carried, MultiStepModule, publish
from ranvier.compat.spikingjelly.neuron.node import Surrogate, slope
from ranvier.nn.filter import value


class GatedLIFNode(Carried):
    def __init__(
        self,
        T: int,
        inplane: int | None = None,
        init_linear_decay: float | None = None,
        init_v_subreset: float | None = None,
        init_tau: float = 0.25,
        init_v_threshold: float = 0.5,
        init_conduct: float = 0.5,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        step_mode: str = "m",
    ):
        if step_mode != "m":
            raise ValueError(f'GatedLIFNode: step_mode must be "m", got {step_mode!r}')
        core = ranvier.GatedLIF(
            T, shape=() if inplane is None else (inplane, 1, 1), linear_decay=init_linear_decay, tau=init_tau,
            v_subreset=init_v_subreset, threshold=init_v_threshold, conduct=init_conduct,
            surrogate=slope(surrogate_function),
        )  # fmt: skip
        names = {k: f"membrane.{k}" for k in ("alpha", "gamma", "tau", "linear_decay", "v_subreset")}
        names |= {"v_threshold": "membrane.threshold", "beta": "beta", "conduct": "conduct"}
        super().__init__(core, "m", published=names)

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("m",)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:  # type: ignore[override]
        self.reset()  # every call is a sequence of its own: it has T steps
        return super().multi_step_forward(x_seq)


class PSN(MultiStepModule, ranvier.PSN):
    def __init__(self, T: int, surrogate_function: Surrogate = surrogate.ATan()):  # noqa: B008
        super().__init__(T, surrogate=slope(surrogate_function))
        publish(self, {"weight": "weight", "bias": "bias"})


class MaskedPSN(Carried):
    def __init__(
        self,
        k: int,
        T: int,
        lambda_init: float = 0.0,
        surrogate_function: Surrogate = surrogate.ATan(),  # noqa: B008
        step_mode: str = "s",
    ):
        core = ranvier.MaskedPSN(k, T, masking=lambda_init, surrogate=slope(surrogate_function))
        super().__init__(core, step_mode, published={"weight": "weight", "bias": "bias", "_lambda_": "masking"})

    @property
    def lambda_(self) -> Tensor:
        """How far the mask is in force: 0 not at all, 1 fully."""
        return value(self.core, "masking")

    @lambda_.setter
    def lambda_(self, to: float) -> None:
        value(self.core, "masking").fill_(float(to))


class SlidingPSN(Carried):
    def __init__(
        self,
        k: int,
        exp_init: bool = True,
        surrogate_function: Surrogate = surrogate.ATan(),  # noqa: B008
        step_mode: str = "s",
    ):
        core = ranvier.SlidingPSN(k, exponential=exp_init, surrogate=slope(surrogate_function))
        super().__init__(core, step_mode, published={"weight": "weight", "bias": "bias"})

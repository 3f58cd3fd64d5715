"""The parallel spiking neurons (PSN), and the gated LIF neuron."""

from typing import Any

import torch
from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly.activation_based import surrogate
from ranvier.compat.spikingjelly.activation_based.base import MultiStepModule
from ranvier.compat.spikingjelly.activation_based.carried import Carried
from ranvier.nn.temporal import Temporal

Function = Any


def _fused(module: Any) -> ranvier.surrogate.Surrogate:
    slope = surrogate.fused(module.surrogate_function)
    if slope is None:
        raise TypeError(
            f"{type(module).__name__}: surrogate_function must be one of those in surrogate, with spiking=True, got "
            f"{module.surrogate_function!r}"
        )
    return slope


class _Parallel(Carried):
    """A neuron whose spikes are computed by `core.fire`, for all steps at once."""

    def __init__(self, core: Temporal, surrogate_function: Function, step_mode: str, **given: Any):
        super().__init__(core, step_mode, **given)
        self.surrogate_function = surrogate_function
        _fused(self)

    def carry(self, x_seq: Tensor, names: tuple[str, ...] = ()) -> Any:
        slope = _fused(self)
        if repr(self.core.fire.surrogate) != repr(slope):
            self.core.fire = ranvier.Heaviside(threshold=0.0, surrogate=slope)
        return super().carry(x_seq, names)


class PSN(MultiStepModule, _Parallel):
    def __init__(self, T: int, surrogate_function: Function = surrogate.ATan()):  # noqa: B008
        given = {"published": {"weight": "weight", "bias": "bias"}, "shapes": {"bias": (T, 1)}}
        _Parallel.__init__(self, ranvier.PSN(T), surrogate_function, "m", **given)
        self.T = T

    def carry(self, x_seq: Tensor, names: tuple[str, ...] = ()) -> Any:
        self.reset()  # every call is a new sequence
        return super().carry(x_seq, names)


class MaskedPSN(_Parallel):
    def __init__(
        self,
        k: int,
        T: int,
        lambda_init: float = 0.0,
        surrogate_function: Function = surrogate.ATan(),  # noqa: B008
        step_mode: str = "s",
    ):
        core = ranvier.MaskedPSN(k, T, masking=lambda_init)
        names = {"weight": "weight", "bias": "bias", "_lambda_": "masking"}
        super().__init__(core, surrogate_function, step_mode, published=names, shapes={"bias": (T, 1)})
        self.k, self.T = k, T
        whole = torch.ones(T, T)
        self.register_buffer("mask0", whole.tril().triu(1 - k))
        self.register_buffer("mask1", whole)
        self.register_load_state_dict_pre_hook(_without_masks)

    @property
    def lambda_(self) -> Tensor:
        """Strength of the mask, from 0 (no mask) to 1 (full mask)."""
        return self._lambda_  # type: ignore[return-value]

    @lambda_.setter
    def lambda_(self, to: float) -> None:
        if not 0.0 <= float(to) <= 1.0:
            raise ValueError(f"MaskedPSN: lambda_ must lie between 0 and 1, got {to!r}")
        self._lambda_.fill_(float(to))  # type: ignore[operator]

    def masked_weight(self) -> Tensor:
        """The weight [T, T] after masking."""
        with self.lent(self.weight) as core:  # type: ignore[arg-type]
            return core.masked()


def _without_masks(module: Any, state: dict, prefix: str, *rest: Any) -> None:
    """Add the masks to a checkpoint that does not have them: they are computed from k and T."""
    for name in ("mask0", "mask1"):
        state.setdefault(prefix + name, getattr(module, name))


class SlidingPSN(_Parallel):
    def __init__(
        self,
        k: int,
        exp_init: bool = True,
        surrogate_function: Function = surrogate.ATan(),  # noqa: B008
        step_mode: str = "s",
    ):
        core = ranvier.SlidingPSN(k, exponential=exp_init)
        names = {"weight": "weight", "bias": "bias"}
        super().__init__(core, surrogate_function, step_mode, published=names, shapes={"bias": ()})
        self.k = k


class GatedLIFNode(MultiStepModule, Carried):
    kept = {"v": ("v", 0.0), "u": ("v", 0.0)}

    def __init__(
        self,
        T: int,
        inplane: int | None = None,
        init_linear_decay: float | None = None,
        init_v_subreset: float | None = None,
        init_tau: float = 0.25,
        init_v_threshold: float = 0.5,
        init_conduct: float = 0.5,
        surrogate_function: Function = surrogate.Sigmoid(),  # noqa: B008
        step_mode: str = "m",
    ):
        if step_mode != "m":
            raise ValueError(f'GatedLIFNode: step_mode must be "m", got {step_mode!r}')
        core = ranvier.GatedLIF(
            T, shape=() if inplane is None else (inplane, 1, 1), linear_decay=init_linear_decay, tau=init_tau,
            v_subreset=init_v_subreset, threshold=init_v_threshold, conduct=init_conduct,
        )  # fmt: skip
        names = {
            "alpha": "membrane.alpha", "beta": "beta", "gamma": "membrane.gamma", "tau": "membrane.tau",
            "v_threshold": "membrane.threshold", "linear_decay": "membrane.linear_decay",
            "v_subreset": "membrane.v_subreset", "conduct": "conduct",
        }  # fmt: skip
        each = () if inplane is None else (inplane,)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, each) | {"conduct": (T, *each)}
        Carried.__init__(self, core, "m", names, shapes)
        self.T, self.surrogate_function = T, surrogate_function
        _fused(self)

    def _before(self, x: Tensor) -> None:
        return None  # every call is a new sequence of T steps

    def carry(self, x_seq: Tensor, names: tuple[str, ...] = ()) -> Any:
        self.reset()
        membrane, slope = self.core.membrane, _fused(self)
        if repr(membrane.surrogate) != repr(slope):
            values = {k: getattr(membrane, k).detach() for k in membrane.params}
            self.core.membrane = type(membrane)(learn=tuple(values), surrogate=slope, **values)
        return super().carry(x_seq, names)

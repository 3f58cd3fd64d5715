"""The step of a physical neuron of Ranvier, with its terms in hxtorch's order."""

from typing import Any, ClassVar

from ranvier.nn.neurons.physical import AdEx
from ranvier.nn.neurons.terms import TERMS, Form, Step
from ranvier.ops import where


class OriginalStep(Step):
    """A step in which adaptation comes before the refractory stage, so that refractory neurons adapt. A membrane that
    is measured is not reset. Terms read the membrane also above the threshold."""

    caps = False

    def spikes(self, silent: Any) -> None:
        self.note("z", self.ask("spike.fire"))
        self.seen("z")
        self.adapt()
        if "v" not in self.measured:
            self.reset()
        if silent is not None:
            self.quiet(silent)

    def quiet(self, silent: Any) -> None:
        self.note("v", where(silent, self.ask("refractory.hold"), self.q["v"]))
        self.seen("v", again=True)
        self.note("z", where(silent, 0.0, self.q["z"]))
        self.seen("z", again=True)
        self.count(silent)


class OriginalAdEx(AdEx):
    """`ranvier.AdEx` with hxtorch's order of a step: x [T, B, N] -> spikes z. A neuron that reaches the threshold
    spikes: z = 1, v = v_reset, w = w + b.
    """

    kind_of_step: ClassVar[type[Step]] = OriginalStep


def quiet(
    z: Any, v: Any, left: Any, v_reset: Any, t_refractory: Any, dt: float, measured: dict[str, Any]
) -> tuple[Any, Any, Any]:
    """The refractory stage alone: spikes, membrane and refractory steps left -> the same variables after the stage."""
    terms = {k: t for k, t in TERMS.items() if k.startswith("refractory.")}
    q = dict(z=z, v=v, left=left, v_reset=v_reset, t_refractory=t_refractory, dt=dt)
    q |= {f"{name}_measured": record for name, record in measured.items()}
    form = Form(terms, ("",), "euler", True, OriginalStep)
    step = OriginalStep(form, q, frozenset(measured), frozenset())
    step.quiet(left > 0.0)
    return step.q["z"], step.q["v"], step.q["left"]

"""Ranvier: spiking neural networks on PyTorch.

Write a neuron once, as its equation. Run it fused, forward and backward, on every backend.

| group | content |
|---|---|
| `rv.nn` | neurons (`rv.neurons`) and layers (`rv.layers`), as in torch.nn; names to declare a neuron |
| `rv.verbs` | functions that run a network: `scan`, `step`, `record`, `Stream`, ... |
| `rv.tools` | inspect a network, choose a backend: `explain`, `saved_memory`, `backend`, ... |
| `rv.ops`, `rv.surrogate` | the functions of a rule; derivatives of its spike |
| `rv.loss`, `rv.metric`, `rv.train` | losses, metrics, training |
| `rv.data` | data sets, readers and encoders |
| `rv.convert` | conversion of trained networks to spiking networks; NIR files |
| `rv.export` | a network as an ONNX file, a PyTorch program, or integers in C |
| `rv.hardware` | effects of neuromorphic chips; chips in the loop |
| `rv.online` | learning forward in time, at constant memory |
| `rv.plasticity` | learning without backward |
| `rv.plot`, `rv.doctor`, `rv.recipes` | plots; problems of a network; complete training runs |
| `rv.compat` | modules with the names and signatures of other libraries |

Every name of `rv.nn`, `rv.verbs` and `rv.tools` is also in `rv` itself: `rv.LIF`, `rv.scan`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ranvier import convert, data, hardware, models, nn, online, ops, surrogate, tools, train, verbs
from ranvier.convert.rate import SpikingActivation
from ranvier.nn import Learn, Neuron, Option, Param, State, Temporal, Time, init, layers, neurons, resetting
from ranvier.nn.layers import *  # noqa: F403
from ranvier.nn.neurons import *  # noqa: F403
from ranvier.tools import *  # noqa: F403
from ranvier.train import loss, metric
from ranvier.verbs import *  # noqa: F403

if TYPE_CHECKING:
    from ranvier import compat, doctor, export, plasticity, plot, recipes

__version__ = "0.1.0"

__all__ = [
    "Learn", "Neuron", "Option", "Param", "SpikingActivation", "State", "Temporal", "Time", "compat", "convert",
    "data", "doctor", "export", "hardware", "init", "layers", "loss", "metric", "models", "neurons", "nn", "online",
    "ops", "plasticity", "plot", "recipes", "resetting", "surrogate", "tools", "train", "verbs",
]  # fmt: skip
__all__ += layers.__all__
__all__ += neurons.__all__
__all__ += tools.__all__
__all__ += verbs.__all__

LATER = ("compat", "doctor", "export", "plasticity", "plot", "recipes")  # imported at the first use
SHORT = (
    "ALIF", "Conv2d", "CubaLIF", "IF", "LI", "LIF", "Linear", "Neuron", "Option", "Param", "Recurrent", "Sequential",
    "State", "Stream", "backend", "decay", "detach", "explain", "record", "scan", "step",
)  # fmt: skip
"""The names that are used most: `dir(ranvier)` lists these and the groups. A group lists all of its names."""


if not TYPE_CHECKING:  # otherwise type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name in LATER:
            return import_module(f"ranvier.{name}")
        raise AttributeError(f"module 'ranvier' has no attribute {name!r}")


def __dir__() -> list[str]:
    groups = (k for k in __all__ if k in LATER or isinstance(globals().get(k), type(nn)))
    return sorted({*SHORT, *groups, "__doc__", "__name__", "__path__", "__version__"})

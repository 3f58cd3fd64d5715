"""Training: losses, metrics, and `run`, which trains any network on any data. Lightning is imported when it is
needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ranvier.train import loss as loss
from ranvier.train import metric as metric
from ranvier.train import regularise as regularise

if TYPE_CHECKING:
    from ranvier.train.neurobench_model import Measures as Measures
    from ranvier.train.neurobench_model import measures as measures
    from ranvier.train.neurobench_model import neurobench as neurobench
    from ranvier.train.results import Result as Result
    from ranvier.train.running import run as run
    from ranvier.train.scale import Scale as Scale

LATER = {"run": "running", "Scale": "scale", "Result": "results"}
LATER |= dict.fromkeys(("neurobench", "measures", "Measures"), "neurobench_model")


def __getattr__(name: str) -> Any:
    if name in LATER:
        return getattr(import_module(f"ranvier.train.{LATER[name]}"), name)
    raise AttributeError(f"module 'ranvier.train' has no attribute {name!r}")

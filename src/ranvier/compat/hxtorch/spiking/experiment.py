"""Experiments: calls of modules are recorded, and `run` runs the recorded calls in order."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn


class Experiment:
    """The recorded calls of modules, in order. With `mock=True`, `run` computes the model only; otherwise the function
    `hardware` returns what was recorded on a chip.

    hardware: a function (experiment, runtime) -> {module: hw_data}. The vendor's software is not needed; its argument
    hw_routing_func is stored but not used.
    """

    def __init__(
        self, mock: bool = False, dt: float = 1e-6, hw_routing_func: Callable[..., Any] | None = None, *,
        hardware: Callable[..., Mapping[Any, Any]] | None = None,
    ):  # fmt: skip
        if not dt > 0:
            raise ValueError(f"Experiment: dt must be above 0, got {dt!r}")
        self.mock, self.dt, self.hw_routing_func, self.hardware = mock, dt, hw_routing_func, hardware
        self.connections: list[tuple[HXModule, tuple[Any, ...]]] = []

    def connect(self, module: "HXModule", inputs: tuple[Any, ...]) -> None:
        self.connections.append((module, inputs))

    def clear(self) -> None:
        """Delete the recorded calls."""
        self.connections = []

    def get_hw_results(self, runtime: Any) -> Mapping[Any, Any]:
        """Return the recordings by module; empty in a mock run."""
        if self.mock:
            return {}
        if self.hardware is None:
            raise ValueError(
                "Experiment(mock=False) has no hardware to run on; pass it hardware=, a function of (experiment, "
                "runtime) that returns recordings by module, or run the model alone: Experiment(mock=True)"
            )
        return self.hardware(self, runtime)


class HXModule(nn.Module):
    """Base class: a call is recorded and returns a handle, which `run` fills."""

    def __init__(self, experiment: Experiment):
        super().__init__()
        self.experiment = experiment
        self.output_handle = self.new_handle()

    def new_handle(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define new_handle()")

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> Any:
        """Compute the module: handles of its inputs -> a filled handle."""
        raise NotImplementedError(f"{type(self).__name__} must define forward_func(*inputs, hw_data=None)")

    def forward(self, *inputs: Any) -> Any:
        self.experiment.connect(self, inputs)
        return self.output_handle


class HXModuleWrapper(HXModule):
    """Several modules that are run by one function of your own: `forward_func(*handles, hw_data=tuple)` returns one
    handle for each.
    """

    def __init__(self, experiment: Experiment, **wrapped: HXModule):
        super().__init__(experiment)
        self.wrapped = nn.ModuleDict(wrapped)

    def new_handle(self) -> tuple:
        return ()

    def forward(self, *inputs: Any) -> Any:
        self.output_handle = tuple(m.output_handle for m in self.wrapped.values())  # type: ignore[union-attr]
        self.experiment.connect(self, inputs)
        return self.output_handle


def run(experiment: Experiment, runtime: int | None = None) -> Mapping[Any, Any]:
    """Run the recorded calls in order: fill every handle, and delete the calls. Returns the recordings of the hardware
    by module; {} in a mock run.
    """
    if not experiment.mock and not isinstance(runtime, int):
        raise ValueError(f"Requested runtime invalid: wanted a whole number of steps, got {runtime!r}")
    recordings = experiment.get_hw_results(runtime)
    for module, inputs in experiment.connections:
        filled = module.forward_func(*inputs, hw_data=recordings.get(module))
        targets = module.output_handle if isinstance(module.output_handle, tuple) else (module.output_handle,)
        for target, new in zip(targets, filled if isinstance(filled, tuple) else (filled,), strict=True):
            target.clone(new)
    experiment.clear()
    return recordings

"""hxtorch.spiking.morphology: where a neuron lies on the chip, kept and not used."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SingleCompartmentNeuron:
    """A neuron of `size` circuits in one compartment."""

    size: int
    expand_horizontally: bool = False

    @property
    def compartments(self) -> tuple[int, ...]:
        """The number of circuits of each compartment."""
        return (self.size,)

"""hxtorch.spiking.morphology: the place of a neuron on the chip, which is accepted but has no effect."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SingleCompartmentNeuron:
    """A neuron with one compartment of `size` circuits."""

    size: int
    expand_horizontally: bool = False

    @property
    def compartments(self) -> tuple[int, ...]:
        """The number of circuits of each compartment."""
        return (self.size,)

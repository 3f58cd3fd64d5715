"""A report of the speeds that have been measured on this machine."""

import torch

from ranvier.spikes import crossover, dense, measured

SHAPES = {  # an example of each kind of product: its inputs and outputs
    "linear": (512, 512), "linear slim": (512, 16), "linear weight": (512, 512), "linear weight slim": (512, 16),
    "convolution": (576, 64), "convolution weight": (576, 64), "step": (256, 256),
}  # fmt: skip


def machine_report() -> str:
    """Return, as text to print, the facts about this machine that decide how products are computed. Speeds that have
    not been measured yet are measured now.

    The text names the implementation of dense products. For an example of each kind of product, it gives the share of
    spikes up to which the product is event-driven.

    >>> import ranvier
    >>> print(ranvier.machine_report())  # doctest: +ELLIPSIS
    processor...
    """
    from ranvier.spikes.product_kernels import LANES  # Numba is imported where it is used

    threads = torch.get_num_threads()
    isa = torch.backends.cpu.get_cpu_capability()
    lines = [f"processor   {measured.processor()}, {isa}; kernels by {LANES} lanes"]
    lines += [f"torch       {torch.__version__}, {threads} thread{'s' * (threads > 1)}"]
    lines += [f"{kind + ' product':<20} {dense.way(kind)}" for kind in dense.KINDS]
    for kind, (columns, width) in SHAPES.items():
        cost = crossover.cost(kind)
        at = cost.crossover(columns, width)
        figures = (
            f"{cost.multiply * 1e3:.3g} ps a multiplication, {cost.row:.3g} ns a row, {cost.event:.3g} ns an event"
        )
        lines.append(f"{kind:<20} {figures}; {columns} to {width}: by events up to {at:.0%}")
    return "\n".join(lines)

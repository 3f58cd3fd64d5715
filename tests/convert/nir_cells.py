"""The table of the docs on the exchange of NIR files with other libraries: what each cell says, and its checks."""

from nir_exchange import (
    DT,
    HARD,
    drawn,
    lacks,
    layer,
    reads,
    reads_firing_first,
    reads_no_map_without_bias,
    reads_not,
    reads_softly,
    reads_without_resistance,
    writes,
    writes_not,
    writes_nothing_of_firing_first,
)

import ranvier as rv


def many(library, names, kind="dense", make=reads):
    return [make(library, name, kind) for name in names]


KINDS = ("dense", "recurrent", "convolutional")

# (library, what it does with a file, kind of network): what the docs say, checks
CELLS = {
    ("snntorch", "reads", "dense"): (
        "same; for `IF` it accepts only a resistance of 1",
        [*many("snntorch", ("LIF", "CubaLIF")), reads_not("snntorch", lambda: drawn(HARD["IF"]()), "r != 1")],
    ),
    ("snntorch", "reads", "recurrent"): (
        "same; for `IF` likewise",
        [*many("snntorch", ("LIF", "CubaLIF"), "recurrent"),
         reads_not("snntorch", lambda: drawn(layer("IF", "recurrent")), "r != 1")],
    ),
    ("snntorch", "reads", "convolutional"): (
        "same, one sample at a time, because its `Flatten` also flattens the batch",
        [*many("snntorch", ("LIF", "CubaLIF"), "convolutional"),
         reads("snntorch", "LIF", "convolutional", rv.SumPool(2))],
    ),
    ("norse", "reads", "dense"): (
        "same; for `LIF` it ignores the resistance: same if you multiply the weights before the neuron by it",
        [*many("norse", ("IF", "CubaLIF")), reads_without_resistance("dense")],
    ),
    ("norse", "reads", "recurrent"): (
        "same; for `LIF` likewise",
        [*many("norse", ("IF", "CubaLIF"), "recurrent"), reads_without_resistance("recurrent")],
    ),
    ("norse", "reads", "convolutional"): (
        "same with `SumPool`, one sample at a time, because its `Flatten` also flattens the batch. It has no "
        "`AvgPool2d`",
        [*(reads("norse", name, "convolutional", rv.SumPool(2)) for name in ("IF", "CubaLIF")),
         lacks("norse", "convolutional")],
    ),
    ("spikingjelly", "reads", "dense"): ("same", many("spikingjelly", HARD)),
    ("spikingjelly", "reads", "recurrent"): ("same", many("spikingjelly", HARD, "recurrent")),
    ("spikingjelly", "reads", "convolutional"): (
        "same",
        [*many("spikingjelly", HARD, "convolutional"), reads("spikingjelly", "IF", "convolutional", rv.SumPool(2))],
    ),
    ("sinabs", "reads", "dense"): (
        "it ignores the resistance and the reset level, and subtracts the threshold: same for a neuron with a soft "
        "reset that is written with `approximate=True` (for `LIF` also `method=\"impulse\"`). It has no `CubaLIF`",
        [reads_softly("LIF", "dense"), reads_softly("IF", "dense"),
         lacks("sinabs", "dense")],
    ),
    ("sinabs", "reads", "recurrent"): (
        "likewise, if it runs step by step with its state; it ignores feedback without a bias",
        [reads_softly("LIF", "recurrent"), reads_softly("IF", "recurrent"), reads_no_map_without_bias],
    ),
    ("sinabs", "reads", "convolutional"): (
        "likewise with `SumPool`; a `LIF` whose input is images raises an error",
        [reads_softly("IF", "convolutional"),
         reads_not("sinabs", lambda: drawn(rv.LIF(beta=0.9), "convolutional"), "truth value of an array",
                   approximate=True)],
    ),
    ("spyx", "reads", "dense"): (
        "its neurons spike before their input and subtract the threshold: same as our `FireFirstLIF`, `FireFirstIF`, "
        "`FireFirstCubaLIF`",
        many("spyx", HARD, make=lambda _, name, kind: reads_firing_first(name, kind)),
    ),
    ("spyx", "reads", "recurrent"): (
        "same as our `FireFirstRecurrent`",
        many("spyx", HARD, "recurrent", lambda _, name, kind: reads_firing_first(name, kind)),
    ),
    ("spyx", "reads", "convolutional"): (
        "likewise with `SumPool`, but its `Flatten` puts channels last: same if the columns of the next weights "
        "are in this order. A `CubaLIF` whose input is images raises an error",
        [reads_firing_first("LIF", "convolutional"), reads_firing_first("IF", "convolutional"),
         reads_not("spyx", lambda: drawn(HARD["CubaLIF"](), "convolutional", rv.SumPool(2)), "Incompatible shapes")],
    ),
    ("snntorch", "writes", "dense"): ("same", [writes("snntorch", 1e-4)]),
    ("snntorch", "writes", "recurrent"): ("same", [writes("snntorch", 1e-4, kind="recurrent")]),
    ("snntorch", "writes", "convolutional"): ("same", [writes("snntorch", 1e-4, kind="convolutional")]),
    ("norse", "writes", "dense"): (
        "same with `dt=1e-6`: it writes `dt` times the time constant",
        [writes("norse", 1e-6)],
    ),
    ("norse", "writes", "recurrent"): (
        "it has no node for its recurrent cells: its file cannot be saved",
        [writes_not("norse", "'NoneType' object has no attribute 'to_dict'")],
    ),
    ("norse", "writes", "convolutional"): (
        "likewise with `dt=1e-6`, after `graph.infer_types()`; it has no node for `Flatten`",
        [writes("norse", 1e-6, kind="convolutional")],
    ),
    ("spikingjelly", "writes", "dense"): ("same", [writes("spikingjelly", 1e-4)]),
    ("spikingjelly", "writes", "recurrent"): (
        "it cannot trace its recurrent containers",
        [writes_not("spikingjelly", "TraceError")],
    ),
    ("spikingjelly", "writes", "convolutional"): ("same", [writes("spikingjelly", 1e-4, kind="convolutional")]),
    ("sinabs", "writes", "dense"): ("same with `method=\"exponential\"`", [writes("sinabs", 1.0, "exponential")]),
    ("sinabs", "writes", "recurrent"): (
        "it has no node for its recurrent layers",
        [writes_not("sinabs", "LIFRecurrent'> not supported")],
    ),
    ("sinabs", "writes", "convolutional"): (
        "`IAF`: same, after `graph.infer_types()`",
        [writes("sinabs", 1.0, "exponential", "convolutional")],
    ),
    ("spyx", "writes", "dense"): (
        "its file does not say how its neurons reset: same as `FireFirstLIF` with its weights and decay",
        [writes_nothing_of_firing_first("dense")],
    ),
    ("spyx", "writes", "recurrent"): (
        "in its file the input passes through the feedback: same as `FireFirstRecurrent` with its weights and decay",
        [writes_nothing_of_firing_first("recurrent")],
    ),
    ("spyx", "writes", "convolutional"): (
        "same as `FireFirstLIF`, if the columns of the weights after `Flatten` are put in our order",
        [writes_nothing_of_firing_first("convolutional")],
    ),
}  # fmt: skip
NAMES = {"snntorch": "snnTorch", "norse": "Norse", "spikingjelly": "SpikingJelly", "sinabs": "Sinabs", "spyx": "Spyx"}


def table(verb):
    """The table of the docs: what libraries do with our files ("reads"), or we with theirs ("writes")."""
    rows = [f"| library | `dt` | {' | '.join(KINDS)} |", "|---|---|---|---|---|"]
    for library, name in NAMES.items():
        cells = " | ".join(CELLS[library, verb, kind][0] for kind in KINDS)
        rows.append(f"| {name} | {DT.get(library, 1e-4):g} | {cells} |")
    return "\n".join(rows)

"""Names, arguments and defaults of the reference pages, and of every name of SpikingJelly's modules."""

import importlib
import inspect
import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
TABLE = json.loads((GOLDEN / "compat_reference.json").read_text())
# SpikingJelly: all of clock_driven 0.0.0.0.12 and activation_based 0.0.0.0.14, and later names that are here
SPIKINGJELLY = json.loads((GOLDEN / "compat_spikingjelly.json").read_text())
REQUIRED, ANY = ["required"], ["other"]  # no default; a default that is an object

MOVED = {"backend", "store_v_seq"}  # 0.0.0.0.14 has these two the other way round; both orders are taken
NOT_HERE = {  # each stands on docs/moving.md
    *("download_url", "GPUMonitor", "check_manual_grad", "check_cuda_grad", "bidirectional_rnn_cell_forward"),
    *("fptt_online_training", "fptt_online_training_init_w_ra", "spike_cluster", "GeneralNode", "MultiStepGeneralNode"),
    *("AXAT", "ChannelsPool", "ConvBatchNorm2d", "DCT"),
}
OTHER_ARGUMENTS = {  # what changed between versions: the later form is here
    "spikingjelly.clock_driven.functional.fuse_convbn2d": {"k", "b"},
    "spikingjelly.activation_based.surrogate.LeakyKReLU": {"spiking"},  # once the first
    "pysnn.neuron.BaseNeuron": {"dt", "duration_refrac", "store_trace"},  # both its forms are taken by *args
    "spikingjelly.activation_based.surrogate.SurrogateFunctionBase": {"alpha", "spiking"},  # taken by *args, **kwargs
    "spikingjelly.clock_driven.surrogate.SurrogateFunctionBase": {"alpha", "spiking"},
}
ROWS = [
    pytest.param(m, n, row, id=f"{m}.{n}")
    for table in (TABLE, SPIKINGJELLY)
    for m, names in table.items()
    for n, row in names.items()
    if not (table is SPIKINGJELLY and (n in NOT_HERE or f"{m}.{n}" == "spikingjelly.clock_driven.layer.STDPLearner"))
]


def published(module: str, name: str):
    return getattr(importlib.import_module(f"ranvier.compat.{module}"), name)


def same(own, there) -> bool:
    if isinstance(there, list) and there[:1] == ["surrogate"]:
        return type(own).__name__ == there[1] and all(getattr(own, k) == v for k, v in there[2].items())
    return there == ANY or own is None or (list(own) if isinstance(own, tuple) else own) == there


@pytest.mark.parametrize("module, name, row", ROWS)
def test_published(module, name, row):
    found = published(module, name)
    if row is None:
        return
    here = inspect.signature(found).parameters
    for argument, default in row:
        if argument in OTHER_ARGUMENTS.get(f"{module}.{name}", ()):
            continue
        assert argument in here, f"{argument} of {[a for a, _ in row]}"
        own = here[argument].default
        if default == REQUIRED:
            continue  # what must be given there may have a default here
        assert own is not inspect.Parameter.empty, f"{argument} has no default"
        assert same(own, default), f"{argument} is {own!r} here, {default} there"
    moved = MOVED | OTHER_ARGUMENTS.get(f"{module}.{name}", set())
    order = [k for k, p in here.items() if k in dict(row) and k not in moved and p.kind is p.POSITIONAL_OR_KEYWORD]
    assert order == [k for k, _ in row if k in order]


def test_what_is_not_here_is_on_the_page():
    page = (Path(__file__).parents[2] / "docs" / "moving.md").read_text()
    assert [n for n in sorted(NOT_HERE) if f"`{n}`" not in page] == []

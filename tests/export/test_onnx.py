"""ONNX and pt2: every layer, whole sequences and single steps, is what the reference is."""

import subprocess
import sys

import onnxruntime
import pytest
import torch
from torch import nn

import ranvier as rv
from everything import EXAMPLES, drive
from ranvier.nn.length import Whole

COUNTS = "a parameter for each step"
WHOLE = "all steps of a sequence at once"
# What cannot be exported, and why; everything else can.
REFUSED: dict[tuple[str, bool], str] = {
    **{
        (f"{name}{axes}d", True): COUNTS
        for name in ("BatchNormThroughTime", "TemporalEffectiveBatchNorm")
        for axes in (1, 2, 3)
    },
    ("GatedLIF", True): COUNTS,
    ("MaskedPSN", True): COUNTS,
    ("MaskedPSN", False): "reads the value of a tensor",
    ("PSN", True): WHOLE,
    ("TemporalAttention", True): WHOLE,
    ("MultiDimensionalAttention", True): WHOLE,
}
FEATURES = {"TemporalAttention": (4,), "MultiDimensionalAttention": (4, 3, 3)}
WHOLES = {
    "PSN": lambda: rv.PSN(steps=9),
    "TemporalAttention": lambda: rv.TemporalAttention(steps=9),
    "MultiDimensionalAttention": lambda: rv.MultiDimensionalAttention(steps=9, channels=4),
}


def blocks(*layers):
    torch.manual_seed(0)
    return rv.Sequential(*layers)


NETS = {
    "dense": (lambda: blocks(rv.Linear(6, 8), rv.LIF(threshold=0.3), rv.Linear(8, 3), rv.LI()), (6,)),
    "recurrent": (lambda: blocks(rv.Linear(6, 8), rv.Recurrent(rv.ALIF(threshold=0.3), 8), rv.Linear(8, 3)), (6,)),
    "learned": (lambda: blocks(nn.Linear(6, 8), rv.LIF(learn=("beta", "threshold")), rv.Dropout(0.5)), (6,)),
    "convolutional": (
        lambda: blocks(
            rv.Conv2d(2, 4, 3), nn.BatchNorm2d(4), rv.LIF(threshold=0.3), nn.MaxPool2d(2), nn.Flatten(),
            rv.Linear(16, 3), rv.LI(),
        ),
        (2, 6, 6),
    ),
    "delayed": (lambda: blocks(rv.DelayedLinear(6, 5, longest=3), rv.LIF(threshold=0.2), rv.Delay(2)), (6,)),
}  # fmt: skip
FEW = ["LIF", "CubaLIF", "Recurrent", "TimedDelay"]


def built(name):
    torch.manual_seed(0)
    if name in NETS:
        build, features = NETS[name]
        return build().eval(), features
    if name in WHOLES:
        return WHOLES[name]().eval(), FEATURES.get(name, (3,))
    return EXAMPLES[name].build().eval(), EXAMPLES[name].features


def driven(layer, features, steps, samples=4):
    torch.manual_seed(1)
    if isinstance(layer, rv.Neuron):
        return drive(layer, steps, (samples, *features))
    x = torch.rand(steps, samples, *features)
    return (x, torch.rand_like(x)) if isinstance(layer, rv.TimedRecurrent) else x


def tensors(given):
    return given if isinstance(given, tuple) else (given,)


def runs(program, path):
    """The program as a function of its inputs: by torch, or by onnxruntime."""
    if isinstance(program, rv.export.Traced):
        program.save(path)
        return torch.export.load(path).module()
    program.save(path)
    session = onnxruntime.InferenceSession(path)

    def run(*given):
        found = session.run(None, dict(zip(program.inputs, (v.numpy() for v in given), strict=True)))
        return tuple(map(torch.from_numpy, found))

    return run


def check(make, name, step, path):
    layer, features = built(name)
    program = make(layer, driven(layer, features, 9), step=step)
    run, steps = runs(program, path), program.steps or 100
    x = driven(layer, features, steps, samples=3)
    with rv.backend("reference"), torch.no_grad():
        wanted = tensors(layer(x))
    if not step:
        found = run(*tensors(x))
    else:
        state, rows = tuple(program.initial(3).values()), []
        for t in range(steps):
            row = run(*(v[t] for v in tensors(x)), *state)
            state = row[len(wanted) :]
            rows.append(row[: len(wanted)])
        found = [torch.stack(row) for row in zip(*rows, strict=True)]
    for y, w in zip(found, wanted, strict=True):
        if set(w.unique().tolist()) <= {0.0, 1.0}:
            assert torch.equal(y, w), name
        torch.testing.assert_close(y, w, rtol=1e-4, atol=1e-5)


quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
both = pytest.mark.parametrize("step", [False, True], ids=["whole", "step"])
makes = pytest.mark.parametrize("make", [rv.export.onnx, rv.export.pt2], ids=["onnx", "pt2"])
ALL = [*EXAMPLES, *WHOLES]


@quiet
@both
@pytest.mark.parametrize("name", [*FEW, *NETS])
def test_onnxruntime_gives_the_same_spikes(name, step, tmp_path):
    check(rv.export.onnx, name, step, str(tmp_path / "net.onnx"))


@quiet
@both
@pytest.mark.parametrize("name", ["LIF", "recurrent"])
def test_torch_gives_the_same_spikes_from_the_file(name, step, tmp_path):
    check(rv.export.pt2, name, step, str(tmp_path / "net.pt2"))


@quiet
@pytest.mark.slow
@both
@makes
@pytest.mark.parametrize("name", ALL)
def test_every_layer_is_exported_or_refused_with_the_reason(make, name, step, tmp_path):
    if (name, step) not in REFUSED:
        check(make, name, step, str(tmp_path / ("net.onnx" if make is rv.export.onnx else "net.pt2")))
        return
    layer, features = built(name)
    with pytest.raises(ValueError, match=REFUSED[name, step]):
        make(layer, driven(layer, features, 9), step=step)


@quiet
@pytest.mark.parametrize(("name", "step"), [key for key in REFUSED if key[0] in ("PSN", "MaskedPSN")])
def test_refused_with_the_reason(name, step):
    layer, features = built(name)
    with pytest.raises(ValueError, match=REFUSED[name, step]):
        rv.export.pt2(layer, driven(layer, features, 9), step=step)


def test_what_sees_all_steps_is_in_the_table():
    wholes = {c.__name__ for c in vars(rv).values() if isinstance(c, type) and issubclass(c, Whole)}
    assert wholes == set(WHOLES)


@quiet
def test_the_file_needs_no_ranvier(tmp_path):
    net, x = built("recurrent")[0], torch.rand(9, 2, 6)
    path = tmp_path / "net.pt2"
    rv.export.pt2(net, x).save(path)
    torch.save((x, net(x).detach()), tmp_path / "io.pt")
    script = (
        "import sys, torch; sys.modules['ranvier'] = None\n"
        f"x, y = torch.load({str(tmp_path / 'io.pt')!r}); program = torch.export.load({str(path)!r}).module()\n"
        "torch.testing.assert_close(program(x)[0], y)\n"
        "assert not any(m.startswith('ranvier.') for m in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert not done.returncode, done.stderr[-500:]


@quiet
def test_one_sample_and_one_step_are_enough():
    net, x = built("dense")[0], torch.rand(1, 1, 6)
    program = rv.export.pt2(net, x)
    y = torch.rand(5, 3, 6)
    assert torch.equal(program.program.module()(y)[0], net(y)) and program.steps is None


@quiet
def test_the_network_itself_stays_as_it_is():
    net = built("learned")[0].train()
    rv.export.pt2(net, torch.rand(3, 2, 6), step=True)
    assert all(m.training for m in net.modules())
    assert all(p.requires_grad for p in net.parameters()) and "run" not in vars(net[1])


@quiet
def test_a_network_trained_as_integers_is_exported_with_its_rounded_weights():
    net, x = built("dense")[0], torch.rand(9, 2, 6)
    aware = rv.export.quantised(net, x, bits=4)
    assert torch.equal(rv.export.pt2(aware, x).program.module()(x)[0], aware(x))
    assert "parametrizations" in "".join(aware.state_dict())


def test_a_random_beginning_is_refused():
    with pytest.raises(ValueError, match=r"SpikingActivation\) begins at random.*give it start"):
        rv.export.pt2(rv.Sequential(rv.SpikingActivation(torch.relu)), torch.rand(9, 2, 6))


@pytest.mark.parametrize("sample", [torch.rand(3, 2), "x", torch.rand(0, 2, 6)])
def test_a_sample_of_another_kind_is_refused(sample):
    with pytest.raises(ValueError, match=r"sample must be an input \[T, B, \*features\]"):
        rv.export.pt2(built("dense")[0], sample)

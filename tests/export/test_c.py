"""The C file and the integer reference give the same bits; both are near the network they were made of."""

import copy
import math
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier import export, ops
from ranvier.derive.rule import Rule
from ranvier.export.cells import Neurons
from ranvier.export.compiled import SANITIZED, STRICT, compiler
from ranvier.export.integers import Value, Width, saturations
from ranvier.export.parts import Wire
from ranvier.export.program import Program
from ranvier.export.steps import Step, watch

sys.path.append(str(Path(__file__).parents[1] / "derive"))
from random_rules import rule as random_rule

needs_gcc = pytest.mark.skipif(compiler() is None, reason="there is no gcc here")


def dense():
    return rv.Sequential(nn.Linear(5, 9), rv.LIF(threshold=0.5), nn.Dropout(), rv.Linear(9, 3), rv.LI()), (5,)


def recurrent():
    learned = rv.CubaLIF(learn=("beta",), shape=3, threshold=0.2)
    return rv.Sequential(
        rv.Linear(5, 9), rv.Recurrent(rv.ALIF(threshold=0.3), 9), rv.Sequential(nn.Linear(9, 3), learned)
    ), (5,)


def pictures():
    norm = nn.BatchNorm2d(4)
    norm.running_mean.uniform_(-0.1, 0.1)
    norm.running_var.uniform_(0.5, 2.0)
    return rv.Sequential(
        nn.Conv2d(2, 4, 3, padding="same"), norm, rv.LIF(threshold=0.2), nn.MaxPool2d(3, 2, 1),
        rv.Conv2d(4, 4, (3, 2), stride=2, padding=1, groups=2, bias=False), rv.IF(threshold=0.1), rv.SumPool(2),
        nn.AvgPool2d(1), nn.Flatten(), nn.LazyLinear(3), rv.LI(),
    ), (2, 9, 7)  # fmt: skip


def signals():
    return rv.Sequential(nn.Conv1d(2, 3, 3, dilation=2), rv.IntegerLIF(), nn.Flatten(), nn.LazyLinear(4), rv.IF()), (
        2,
        8,
    )


NETS = {make.__name__: make for make in (dense, recurrent, pictures, signals)}


def built(name, steps=20, batch=50, spikes=False):
    torch.manual_seed(0)
    net, features = NETS[name]()
    x = torch.randn(steps, batch, *features)
    x = (x > 0.5).float() if spikes else x
    with torch.no_grad():
        net.eval()(x)  # lazy layers learn their shapes
    return net, x


@needs_gcc
@pytest.mark.parametrize("name, bits, width, spikes", [
    ("dense", 8, 16, False), ("dense", 2, 32, True), ("recurrent", 8, 16, True), ("recurrent", 4, 32, False),
    ("pictures", 4, 16, True), ("pictures", 8, 32, False), ("signals", 8, 16, False),
])  # fmt: skip
def test_the_c_file_gives_the_bits_of_the_reference(name, bits, width, spikes):
    net, x = built(name, spikes=spikes)
    program = export.c(net, x, bits=bits, state_bits=width)
    given = program.encode(x)
    y = program.run(given)
    measured = export.compile_and_run(program, given, SANITIZED)
    assert np.array_equal(measured.y, y) and (y != 0).any()
    assert measured.ram == sum(f.bytes for f in program.fields)


@pytest.mark.parametrize("name", NETS)
def test_many_bits_are_near_the_network(name):
    net, x = built(name)
    with torch.no_grad():
        y = net(x)
    found = export.c(net, x, bits=8, state_bits=32)(x)
    if bool(((y == 0) | (y == 1)).all()):
        assert (found != y).float().mean() < 0.02
    else:
        assert (found - y).abs().mean() < 0.05 * y.abs().mean()


@pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv1d(6, 4, 3), nn.Conv2d(6, 4, 3, padding=1)])
def test_layers_of_weights_are_as_exact_as_their_bits(layer):
    """Without neurons nothing is thrown over a threshold: the error is that of rounding."""
    features = (6, *(5,) * (layer.weight.dim() - 2))
    x = torch.randn(4, 3, *features)
    with torch.no_grad():
        y = rv.Fold(layer)(x)
    found = export.c(rv.Sequential(layer), x, state_bits=32)(x)
    assert found.shape == y.shape and (found - y).abs().max() < 0.02 * y.abs().max()


def random_program(seed):
    """A rule of random ops with one input, on random states, as a program of one layer."""
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    made = random_rule(seed)

    def function(x, *rest):
        return made.function(*[x * k for k in range(1, len(made.inputs) + 1)], *rest)

    rule = Rule(f"One{seed}", function, made.surrogate, ("x0",), made.states, made.params)
    n, steps = 5, 15
    grid = lambda *shape: torch.randint(-6, 7, shape, generator=generator) / 4  # noqa: E731
    x = torch.randn(steps, 4, n, generator=generator) * draw.choice((0.1, 1.0, 10.0))
    width = Width(draw.choice((16, 32)))
    params, begin = [grid(n) if k % 2 else grid() for k, _ in enumerate(rule.params)], [grid(1, n) for _ in rule.states]
    reach = watch(rule, lambda t, z: x[t] / 4 if t < steps else None, [b.expand(4, n) for b in begin], params)
    step = Step(rule, reach, Value("", 9, width.high), params, width, f"r{seed}")
    begins = [np.rint(b[0].numpy() * 2.0 ** step.fractions[s]).astype(np.int64) for s, b in zip(step.states, begin)]  # noqa: B905
    begins = [np.clip(b, -width.high, width.high) for b in begins]
    cell = Neurons(f"r{seed}", "rule", step, begins, Wire((n,), 9, width.high))
    return Program(f"rule{seed}", (cell,), cell.before, cell.after, 8, width.bits), x


@needs_gcc
@pytest.mark.parametrize("block", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 6))])
def test_random_rules_give_the_bits_of_the_reference(block, tmp_path):
    """Each rule is a file of its own; one program runs them all."""
    programs = [random_program(seed) for seed in range(block * 25, block * 25 + 25)]
    calls, wanted = [], []
    for program, x in programs:
        program.save(tmp_path / f"{program.name}.c")
        given = program.encode(x)
        with saturations() as seen:
            wanted.append((program.run(given), seen.count.get("rule", 0)))
        name, (steps, batch, n) = program.name, given.shape
        numbers = ", ".join(map(str, given.reshape(-1).tolist()))
        calls.append(f"""{{ static const {program.before.type} x[] = {{{numbers}}};
            static {name} s; {program.after.type} y[{n}];
            for (int b = 0; b < {batch}; b++) {{ {name}_reset(&s); for (int t = 0; t < {steps}; t++) {{
                {name}_step(&s, x + (t * {batch} + b) * {n}, y);
                for (int k = 0; k < {n}; k++) printf("%d ", (int)y[k]); }} }}
            printf("%u\\n", (unsigned){name}_saturated(0)); }}""")  # fmt: skip
    files = "\n".join(f'#define {p.name.upper()}_COUNT\n#include "{p.name}.c"' for p, _ in programs)
    helpers = sorted({line for p, _ in programs for line in p.source.splitlines() if line.startswith("static inline")})
    assert helpers
    main = "\n".join(["#include <stdio.h>", files, "int main(void) {", *calls, "return 0; }"])
    for p, _ in programs:  # helpers of one name, once a file: each file may be alone, so here they get names of its own
        path = tmp_path / f"{p.name}.c"
        text = path.read_text()
        for helper in ("round32", "round64", "floor32", "floor64", "even64", "fit32", "fit64", "ratio", "between"):
            text = text.replace(f"{helper}(", f"{p.name}_{helper}(")
        path.write_text(text)
    (tmp_path / "main.c").write_text(main)
    flags = [f for f in SANITIZED if f != "-O2"]
    subprocess.run([compiler(), *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for (program, _), line, (y, count) in zip(programs, done.stdout.splitlines(), wanted, strict=True):
        assert line.split()[:-1] == [*map(str, y.swapaxes(0, 1).reshape(-1))], program.source
        assert int(line.split()[-1]) <= count, program.source  # C leaves out values that nothing reads
    assert any(count for _, count in wanted)


def test_ops_are_near_what_they_say():
    """Every op on a fine grid, one state wide: within what 257 points and 32 bits give."""
    said = {
        "exp": ops.exp, "log": lambda a: ops.log(a * a + 1.0), "sqrt": lambda a: ops.sqrt(a * a), "tanh": ops.tanh,
        "sigmoid": ops.sigmoid, "softplus": ops.softplus, "div": lambda a: a / (a * a + 0.5), "half": lambda a: a / 2.0,
        "floor": ops.floor, "round": ops.round, "abs": ops.abs, "sign": ops.sign,
        "clamp": lambda a: ops.clamp(a, -1, 2),
        "minimum": lambda a: ops.minimum(a, 0.5), "where": lambda a: ops.where((a > 1.0) | ~(a >= -1.0), a * a, 0.25),
    }  # fmt: skip
    x = torch.linspace(-3, 3, 997).reshape(1, 1, -1)
    for name, function in said.items():
        rule = Rule(name, lambda x, f=function: ((f(x),), ()), lambda u: u, ("x",), (), ())
        width = Width(32)
        reach = watch(rule, lambda t, z: x[0] if t == 0 else None, [], [])
        wire = Wire((997,), 20, width.high)
        step = Step(rule, reach, Value("", 20, width.high), [], width, "l0")
        cell = Neurons("l0", name, step, [], wire)
        program = Program("op", (cell,), wire, cell.after, 8, 32)
        exact = program.decode(program.run(np.rint(x.numpy() * 2**20).astype(np.int64)))
        wanted = function(torch.from_numpy(np.rint(x.numpy() * 2**20) / 2**20).float())
        most = 0.1 if name == "sqrt" else 2e-3 * float(wanted.abs().max().clamp_min(1.0))  # a root is steep at 0
        assert (exact - wanted).abs().max() < most, name


def test_halves_of_round_go_to_even():
    rule = Rule("round", lambda x: ((ops.round(x),), ()), lambda u: u, ("x",), (), ())
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.75]).reshape(1, 1, -1)
    step = Step(rule, watch(rule, lambda t, z: x[0] if t == 0 else None, [], []), Value("", 4, 99), [], Width(16), "l0")
    cell = Neurons("l0", "round", step, [], Wire((7,), 4, 99))
    found = Program("r", (cell,), cell.before, cell.after, 8, 16).run((x.numpy() * 16).astype(np.int64))
    assert found.reshape(-1).tolist() == x.round().int().reshape(-1).tolist()


def test_chunks_of_steps_join_and_batches_do_not_mix():
    net, x = built("recurrent")
    program = export.c(net, x)
    given = program.encode(x)
    whole, state, parts = program.run(given), program.initial(x.shape[1]), []
    for x_t in given:
        y, state = program.step(x_t, state)
        parts.append(y)
    assert np.array_equal(whole, np.stack(parts))
    assert np.array_equal(whole[:, 3:7], program.run(given[:, 3:7]))


def test_weights_trained_as_integers_are_exported_as_they_are():
    net, x = built("dense")
    aware = export.quantised(net, x, bits=4)
    optimiser = torch.optim.SGD(aware.parameters(), 0.1)
    before = aware(x).square().mean()
    before.backward()
    assert all(p.grad is not None and bool(p.grad.any()) for n, p in aware.named_parameters() if "original" in n)
    optimiser.step()
    with torch.no_grad():
        y = aware.eval()(x)
    with pytest.warns(UserWarning, match="layer '4': .*saturate|saturate.*layer '4'"):
        program = export.c(aware, x, bits=4)  # the step was large: its fixed points are those from before
    first = program.parts[0]
    assert torch.equal(torch.from_numpy(first.q).sign().float(), aware[0].weight.detach().sign())
    apart = (program.decode(program.run(program.encode(x))) - y).abs().mean() / y.abs().mean()
    plain = (export.c(net, x, bits=4)(x) - net(x).detach()).abs().mean() / y.abs().mean()
    assert apart < 0.05 and apart < plain  # what was trained is what runs
    with pytest.raises(ValueError, match="trained with weights of 4 bits; export it with bits=4"):
        export.c(aware, x)


def test_states_are_rounded_and_held_on_every_backend():
    fixed = export.fixed_point(rv.LIF(beta=0.7, threshold=5.0), {"v": 3}, bits=6)
    x = torch.randn(30, 4, 7)
    v = rv.scan(fixed, x)[1][""]["v"]
    assert torch.equal(v * 8, (v * 8).round()) and bool((v.abs() <= 31 / 8).all())
    with rv.backend("reference"):
        assert torch.equal(rv.scan(fixed, x)[1][""]["v"], v)
    held = rv.scan(fixed, torch.full((9, 1, 1), 2.0))[1][""]["v"]
    assert held.item() == 31 / 8
    with pytest.raises(ValueError, match=r"fractions must name the states \['v'\]"):
        export.fixed_point(rv.LIF(), {"a": 3})


def test_what_saturates_is_said():
    """Input and states beyond the sample, and beyond their width whatever the sample, with the layer and the cure."""
    net, few, all_on = rv.Sequential(nn.Linear(4, 3), rv.LI(beta=0.9)), torch.zeros(20, 2, 4), torch.ones(20, 2, 4)
    net[0].weight.data.fill_(1.0)
    few[::7] = 1.0
    program = export.c(net, few)
    assert not program.saturated(few).count and program(few).shape == (20, 2, 3)
    with pytest.warns(UserWarning, match=r"layer '1': \d+ numbers.*pass export\.c a sample with values as large"):
        program(all_on)
    assert program.saturated(all_on).times["1"] > 1
    assert "saturates: layer '1'" in str(program.report(all_on)) and "saturates" not in str(program.report(few))
    assert not export.c(net, all_on).saturated(all_on).count
    x = torch.rand(20, 2, 4)
    with pytest.warns(UserWarning, match="input: 160 numbers"):
        export.c(net, x)(x + 50)
    large = torch.full((20, 1, 1), 4e4)  # beyond 16 bits, whatever the fixed point
    with pytest.warns(UserWarning, match="state_bits=32"):
        export.c(rv.LI(beta=1.0), large)
    assert not export.c(rv.LI(beta=1.0), large, state_bits=32).saturated(large).count


def rare():
    """A network, a sample in which few inputs are on, and an input that is always on."""
    net = rv.Sequential(nn.Linear(4, 3), rv.LI(beta=0.9), nn.Linear(3, 3), rv.Recurrent(rv.LIF(), 3))
    for layer in net[::2]:
        nn.init.constant_(layer.weight, 1.0)
    sample = torch.zeros(20, 2, 4)
    sample[::7] = 1.0
    return net, sample, torch.ones(20, 2, 4)


@needs_gcc
def test_the_c_file_counts_what_saturates():
    """As many numbers of every layer as in Python; without the flag nothing is counted."""
    net, sample, x = rare()
    program = export.c(net, sample, name="Net_1")
    given = program.encode(x)
    with saturations() as seen:
        y = program.run(given)
    assert len(seen.count) > 1
    counted = export.compile_and_run(program, given, [*SANITIZED, program.counting])
    assert counted.saturated == seen.count and np.array_equal(counted.y, y)
    plain = export.compile_and_run(program, given)
    assert plain.saturated is None and np.array_equal(plain.y, y)


def test_neurons_with_fixed_points_are_copied_pickled_and_loaded():
    net, x = built("dense")
    fixed = export.fixed_point(net[1], {"v": 5})
    for again in (copy.deepcopy(fixed), pickle.loads(pickle.dumps(fixed))):
        assert type(again) is type(fixed) and again.fractions == {"v": 5}
        assert torch.equal(rv.scan(again, x)[1][""]["v"], rv.scan(fixed, x)[1][""]["v"])
    other = export.fixed_point(net[1], {"v": 2}, bits=8)
    other.load_state_dict(fixed.state_dict())
    assert other.fractions == {"v": 5} and other.state_bits == 16
    assert torch.equal(rv.scan(other, x)[1][""]["v"], rv.scan(fixed, x)[1][""]["v"])
    aware = export.quantised(net, x, bits=4)
    fresh = export.quantised(net, 100 * x, bits=4)  # other fixed points
    fresh.load_state_dict(aware.state_dict())
    assert torch.equal(fresh.eval()(x), copy.deepcopy(aware).eval()(x))


SAMPLE = torch.rand(3, 2, 4)
WRONG = {
    "an attention": (lambda: export.c(rv.Sequential(nn.Linear(4, 4), nn.ReLU()), SAMPLE), r"layer '1' \(ReLU\) has no"),
    "a state": (lambda: export.c(rv.PSN(3), SAMPLE), "PSN"),
    "no axes": (lambda: export.c(rv.LIF(), SAMPLE[0]), "sequence"),
    "empty": (lambda: export.c(rv.LIF(), SAMPLE[:0]), "empty"),
    "nan": (lambda: export.c(rv.LIF(), SAMPLE * math.nan), "NaN"),
    "bits": (lambda: export.c(nn.Linear(4, 2), SAMPLE, bits=3), r"weights have \[2, 4, 8\] bits"),
    "width": (lambda: export.c(rv.LIF(), SAMPLE, state_bits=8), "16 or 32"),
    "name": (lambda: export.c(rv.LIF(), SAMPLE, name="1; int x"), "a name in C"),
    "input": (lambda: export.c(rv.LIF(), SAMPLE)(torch.rand(3, 2, 5)), r"takes \[T, B, \*\(4,\)\]"),
    "no spikes": (lambda: export.c(rv.LIF(), SAMPLE.round())(SAMPLE), "made for spikes"),
    "two axes": (lambda: export.c(nn.Linear(4, 2), torch.rand(3, 2, 5, 4)), "put nn.Flatten before it"),
    "feedback": (lambda: export.c(rv.Recurrent(rv.LIF(), nn.Tanh()), SAMPLE), "its feedback is a Tanh"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_said_is_refused(case):
    ask, told = WRONG[case]
    with pytest.raises(ValueError, match=told):
        ask()


def test_reports_count(tmp_path):
    net, x = built("dense", spikes=True)
    program = export.c(net, x)
    found = program.report(x)
    assert found.products == 5 * 9 + 9 * 3 and found.updates == 9 + 3
    assert found.ram == 9 * 2 + 3 * 2 + sum(f.bytes for f in program.fields if f.name.startswith("y"))
    assert found.flash >= 5 * 9 + 9 * 3 and 0 < found.met < found.products and found.nanojoule > 0
    assert "flash" in str(found) and "states updated" in str(found)
    spikes = rv.record(net.eval(), x, "z")["1"].detach()
    met = (x != 0).sum() * 9 / 1000 + spikes.sum() * 3 / 1000
    assert abs(found.met - float(met)) < 0.05 * float(met)
    if compiler():
        assert found.code > found.flash and (found.cycles is None or found.cycles > 0)
    assert program.save(tmp_path / "net.c").read_text() == program.source


@needs_gcc
def test_a_file_that_does_not_compile_says_what_the_compiler_said(monkeypatch):
    program = export.c(rv.LIF(), SAMPLE)
    monkeypatch.setattr(Program, "source", "no C at all")
    with pytest.raises(RuntimeError, match="gcc ended with 1"):
        export.compile_and_run(program, program.encode(SAMPLE), STRICT)


@needs_gcc
@pytest.mark.slow
def test_digits_on_a_thousand_inputs(tmp_path):
    """A trained net of 8 bits: the same bits in C on 1,000 digits, within .3 points of floating point."""
    from rich.console import Console

    from ranvier.train.running import prepare

    result = rv.train.run("digits", tmp_path / "run", console=Console(quiet=True))
    splits, _ = prepare(result.recipe, None)
    encode = lambda x: result.recipe.encode(x, torch.Generator().manual_seed(0))  # noqa: E731
    train, test, net = splits[0], splits[2], result.net.eval()
    program = export.c(net, encode(train.x[:128]), name="digits")
    thousand = program.encode(encode(torch.cat([test.x, train.x])[:1000]))
    measured = export.compile_and_run(program, thousand, SANITIZED)
    assert np.array_equal(measured.y, program.run(thousand))

    def right(y):
        return float((y.sum(0).argmax(-1) == test.labels).float().mean())

    with torch.no_grad():
        exact = right(net(encode(test.x)))
    assert right(program(encode(test.x))) > exact - 0.003
    assert measured.ram < 10_000 and (measured.flash is None or measured.flash < 100_000)


@needs_gcc
@pytest.mark.slow
def test_a_recurrent_net_on_a_thousand_inputs():
    net, _ = built("recurrent")
    x = torch.randn(50, 1000, 5, generator=torch.Generator().manual_seed(1))
    program = export.c(net, x[:, :100])
    given = program.encode(x)
    assert np.array_equal(export.compile_and_run(program, given, SANITIZED).y, program.run(given))

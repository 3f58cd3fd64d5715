"""Wrong arguments, and input of a wrong kind: what the errors say."""

import pytest
import torch
from torch import nn

import ranvier as rv
from everything import EXAMPLES, drive

NAN, X = float("nan"), torch.rand(5, 2, 3)
NET = rv.Sequential(rv.Linear(3, 4), rv.LIF())

# What is said, and of what.
SAID = {
    "LIF takes its arguments by name: LIF(beta=0.9)": lambda: rv.LIF(0.9),
    "surrogate.atan makes a surrogate when it is called": lambda: rv.LIF(surrogate=rv.surrogate.atan),
    "PSN: surrogate.atan makes": lambda: rv.PSN(3, surrogate=rv.surrogate.atan),
    "GatedLIF: surrogate.atan makes": lambda: rv.GatedLIF(3, surrogate=rv.surrogate.atan),
    "AssociativeResonate: surrogate.atan": lambda: rv.AssociativeResonate(surrogate=rv.surrogate.atan),
    "LIF: learn must be names of parameters, such as learn=('beta',)": lambda: rv.LIF(learn=True),
    "AssociativeResonate: learn must be names": lambda: rv.AssociativeResonate(learn=True),
    "['tau_mem_to'] cannot be learned": lambda: rv.TimedLIF(learn="tau_mem_to"),
    "['b'] cannot be learned, because it has": lambda: rv.AdEx(fire=False, learn="b"),
    "LIF: shape must be whole numbers, such as shape=(128,)": lambda: rv.LIF(shape=3.0),
    "LIF: beta must be a number or a tensor, got 'x'": lambda: rv.LIF(beta="x"),
    "LIF: beta must lie between 0 and 1, got 1.2 at [2] of shape (3,)": lambda: rv.LIF(beta=[0.5, 1.0, 1.2]),
    "LIF: beta must be finite, got nan at [0, 1] of shape (1, 2)": lambda: rv.LIF(beta=[[0.1, NAN]]),
    "as encode_times returns; got one tensor [5, 2, 3]": lambda: rv.TimedMap(nn.Linear(3, 4, bias=False))(X),
    "GatedLIF: tau must lie between 0 and 1": lambda: rv.GatedLIF(tau="a"),
    "AssociativeResonate: damping must be a number": lambda: rv.AssociativeResonate(damping="a"),
    "AssociativeResonate: damping must be positive": lambda: rv.AssociativeResonate(damping=0.0),
    "AssociativeResonate: omega must be finite": lambda: rv.AssociativeResonate(omega=NAN),
    "AssociativeResonate: dt must be a positive number": lambda: rv.AssociativeResonate(dt="a"),
    "Refractory: the first argument must be a neuron whose rule calls spike": lambda: rv.Refractory(rv.LI()),
    "Refractory: period must lie between 0": lambda: rv.Refractory(rv.LIF(), -1),
    "Refractory: dt must be a positive number": lambda: rv.Refractory(rv.LIF(), 1, dt="x"),
    "Refractory: held names ['q'], but the states are ['v']": lambda: rv.Refractory(rv.LIF(), 1, held=("q",)),
    "Delay: steps must be whole numbers of steps, not negative, got 1.5": lambda: rv.Delay(1.5),
    "Delay: steps must be whole numbers of steps, not negative, got 'a'": lambda: rv.Delay("a"),
    "Delay: steps must be whole numbers of steps, not negative, got -1": lambda: rv.Delay(-1),
    "LearnedDelay: delay must be finite": lambda: rv.LearnedDelay(1, delay=NAN),
    "LearnedDelay: delay must lie between 0 and 10, got 11": lambda: rv.LearnedDelay(1, delay=11),
    "LearnedDelay: delay has shape (3,), which does not broadcast": lambda: rv.LearnedDelay(2, delay=[1.0, 2.0, 3.0]),
    "LearnedDelay: width must be a positive number": lambda: rv.LearnedDelay(1, width="a"),
    "DelayedLinear: input must be [T, B, 3]": lambda: rv.DelayedLinear(3, 2)(torch.rand(5, 2, 4)),
    "omega dt must lie between -pi and pi": lambda: rv.ResonateAndFire(omega="a"),
    "decay: tau must be a positive number": lambda: rv.decay("a", 1.0),
    "decay: dt must be a positive number": lambda: rv.decay(1.0, 0.0),
    "layer 0 (Linear): mat1 and mat2 shapes cannot be multiplied": lambda: NET(torch.rand(5, 2, 7)),
    "input must be a tensor [T, B, *features], got list": lambda: NET([[1.0]]),
    "input must be a tensor [T, B, *features], got NoneType": lambda: NET(None),
    "layer 0 (LSTM): LSTM returns a tuple": lambda: rv.Sequential(nn.LSTM(3, 4), rv.LIF())(X),
    "state 'v' must be a tensor (2, 3), got 0.0": lambda: rv.LIF().scan(X, {"v": 0.0}),
    "make the loss first, then call it": lambda: rv.loss.integral_crossentropy(X, torch.tensor([0, 1])),
    "with time first (or pass time_axis)": lambda: rv.loss.integral_crossentropy()(X, torch.zeros(5, dtype=torch.long)),
}  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_an_error_says_what_was_wanted(said):
    with pytest.raises((TypeError, ValueError, RuntimeError)) as problem:
        SAID[said]()
    assert said in str(problem.value)


TAKES_BOOL = {"TracedIF", "TracedLIF", "TracedALIF", "Fede"}  # their spikes may come in as bool, as documented


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64], ids=str)
@pytest.mark.parametrize("name", [*EXAMPLES, "Linear", "Conv2d", "Sequential", "Stream"])
def test_spikes_that_are_no_floats_are_refused(name, dtype):
    images = torch.ones(4, 2, 3, 8, 8).to(dtype)
    if name == "Conv2d":
        layer, x = rv.Conv2d(3, 4, 3), images
    elif name in ("Linear", "Sequential"):
        layer, x = {"Linear": NET[0], "Sequential": NET}[name], torch.ones(4, 2, 3).to(dtype)
    elif name == "Stream":
        layer, x = rv.Stream(NET), torch.ones(2, 3).to(dtype)
    else:
        layer = EXAMPLES[name].build()
        one = torch.ones(4, 2, *EXAMPLES[name].features).to(dtype)
        inner = layer if isinstance(layer, rv.Neuron) else getattr(layer, "neuron", None)
        many = len(inner.inputs) if isinstance(inner, rv.Neuron) else 1
        x = (one,) * many if many > 1 else one
    if name in TAKES_BOOL and dtype == torch.bool:
        layer(x)
        return
    with pytest.raises(TypeError, match=r"must be floating point, got .*: call \.float\(\)"):
        layer(x)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_layer_is_built_on_meta_and_loaded(name):
    example = EXAMPLES[name]
    layer = example.build().eval()
    with torch.device("meta"):
        later = example.build().eval()
    assert repr(later) and all(v.is_meta for v in later.state_dict().values())
    later.to_empty(device="cpu")
    later.load_state_dict(layer.state_dict())
    one = layer if isinstance(layer, rv.Neuron) else getattr(layer, "neuron", rv.IF())
    x = drive(one, 6, (2, *example.features))
    torch.testing.assert_close(later(x), layer(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_learned_number_has_an_axis_and_loads_without_one(name):
    layer = EXAMPLES[name].build()
    if isinstance(layer, rv.Neuron):
        layer = type(layer)(learn=layer.learnable)
    assert all(v.dim() for v in layer.parameters()), "FSDP2 cannot shard a number without an axis"
    saved = {k: v.reshape(()) if v.shape == (1,) else v for k, v in layer.state_dict().items()}
    layer.load_state_dict(saved)

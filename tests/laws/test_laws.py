"""What must hold for every temporal layer, also those added later."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import ranvier as rv
from everything import EXAMPLES, drive

every_layer = pytest.mark.parametrize("name", sorted(EXAMPLES))
sizes = {"steps": st.integers(1, 9), "batch": st.integers(1, 4), "seed": st.integers(0, 10_000)}


def made(name, steps, batch, seed):
    example = EXAMPLES[name]
    torch.manual_seed(seed)
    layer = example.build().eval()
    one = layer if isinstance(layer, rv.Neuron) else getattr(layer, "neuron", rv.IF())  # what takes the input
    return layer, drive(one, steps, (batch, *example.features), seed=seed), example.exact


def part(x, index):
    """x, or each of a tuple of inputs, at an index."""
    return tuple(v[index] for v in x) if isinstance(x, tuple) else x[index]


def joined(ys):
    return tuple(torch.cat(p) for p in zip(*ys, strict=True)) if isinstance(ys[0], tuple) else torch.cat(ys)


def steps_of(x):
    return len(x[0]) if isinstance(x, tuple) else len(x)


def same(a, b, exact):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for k in a:
            same(a[k], b[k], exact)
    elif isinstance(a, (tuple, list)):
        for p, q in zip(a, b, strict=True):
            same(p, q, exact)
    elif isinstance(a, torch.Tensor):
        assert a.shape == b.shape
        # a matrix product of another size may round the last bit differently
        torch.testing.assert_close(a, b, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-5)


@every_layer
@given(**sizes)
def test_scan_is_repeated_step(name, steps, batch, seed):
    layer, x, exact = made(name, steps, batch, seed)
    y, after = layer.scan(x)
    parts, state = [], None
    for t in range(steps):
        y_t, state = layer.step(part(x, t), state)
        parts.append(part(y_t, slice(None)) if isinstance(y_t, tuple) else y_t)
    stacked = tuple(map(torch.stack, zip(*parts, strict=True))) if isinstance(parts[0], tuple) else torch.stack(parts)
    same(y, stacked, exact)
    same(after, state, exact)


@every_layer
@given(**sizes, at=st.integers(0, 9))
def test_chunks_join(name, steps, batch, seed, at):
    layer, x, exact = made(name, steps, batch, seed)
    at = min(at, steps)
    y, after = rv.scan(layer, x)
    first, state = rv.scan(layer, part(x, slice(0, at)))
    second, state = rv.scan(layer, part(x, slice(at, None)), state)
    same(y, joined([first, second]), exact)
    same(after, state, exact)


@every_layer
@given(**sizes)
def test_batches_do_not_mix(name, steps, batch, seed):
    layer, x, exact = made(name, steps, batch + 1, seed)
    y = layer(x)
    alone = layer(part(x, (slice(None), slice(0, 1))))
    same(part(y, (slice(None), slice(0, 1))), alone, exact)


@every_layer
@given(**sizes, at=st.integers(0, 8))
def test_the_future_never_changes_the_past(name, steps, batch, seed, at):
    layer, x, _ = made(name, steps, batch, seed)
    at = min(at, steps - 1)
    y = layer(x)
    xs = [v.clone() for v in (x if isinstance(x, tuple) else (x,))]
    for v in xs:
        v[at:] += torch.randn_like(v[at:])
    z = layer(tuple(xs) if isinstance(x, tuple) else xs[0])
    same(part(y, slice(0, at)), part(z, slice(0, at)), True)


@every_layer
@given(**sizes)
def test_twice_is_the_same(name, steps, batch, seed):
    layer, x, _ = made(name, steps, batch, seed)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    y = layer(x)
    given_x = part(x, slice(None))
    same(y, layer(x), True)
    same(x, given_x, True)  # nobody's tensor is written to
    same(dict(layer.state_dict()), before, True)


@every_layer
def test_a_plain_torch_sequential_works(name):
    layer, x, _ = made(name, 5, 2, 0)
    if isinstance(x, tuple):
        pytest.skip("takes several inputs")
    width = EXAMPLES[name].features[-1]
    net = nn.Sequential(nn.Linear(width, width), layer, nn.Flatten(2), nn.LazyLinear(2))
    y = net(x)
    assert y.shape[:2] == (5, 2)
    first, state = rv.scan(net, x[:2])
    second, _ = rv.scan(net, x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), y)


@every_layer
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, on the first jvp
def test_torch_func_sees_every_layer(name):
    layer, x, _ = made(name, 5, 2, 0)
    if isinstance(x, tuple):
        pytest.skip("takes several inputs")

    def size(x):
        y = layer(x)
        return (y[0] if isinstance(y, tuple) else y).square().sum()

    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(size(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(size)(x), wanted)
    along = torch.func.jvp(size, (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(along, wanted.sum(), rtol=1e-4, atol=1e-4)
    several = torch.stack([x, 2 * x, x.flip(0)])
    same(torch.func.vmap(layer)(several), torch.stack([layer(one) for one in several]), False)
    each = torch.func.vmap(torch.func.grad(size))(several)
    torch.testing.assert_close(each[0], wanted)


@every_layer
def test_no_step_and_no_sample(name):
    layer, x, _ = made(name, 4, 3, 0)
    for index in (slice(0, 0), (slice(None), slice(0, 0))):
        y, _ = layer.scan(part(x, index))
        one, whole = (y[0], layer(x)[0]) if isinstance(y, tuple) else (y, layer(x))
        assert one.numel() == 0 and one.shape[2:] == whole.shape[2:]


@every_layer
def test_nothing_is_kept_in_the_layer(name):
    layer, x, _ = made(name, 4, 3, 0)
    held = set(layer.state_dict())
    layer(x)
    rv.scan(layer, x)
    assert set(layer.state_dict()) == held == {n for n, _ in (*layer.named_parameters(), *layer.named_buffers())}

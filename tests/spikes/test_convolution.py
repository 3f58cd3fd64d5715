"""Event-driven convolutions give the dense convolution's sums."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from ranvier.spikes import convolution

channels = st.sampled_from([1, 7, 40, 63, 65])
pairs = {
    name: st.tuples(*2 * [st.integers(*ends)])
    for name, ends in {"taps": (1, 5), "stride": (1, 3), "padding": (0, 3), "more": (0, 12)}.items()
}


def pictures(shape, share, seed, graded=False, last=False):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(shape, generator=generator) < share).float()
    if graded:
        x *= torch.randn(shape, generator=generator)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def agree(x, weight, bias, g, stride, padding):
    """Output and gradients by events against those of torch in float64."""
    bits, _, spikes = convolution.look(x)
    factors = [v.clone().requires_grad_() for v in (x, weight, bias)]
    y = convolution.convolution(factors[0], bits if spikes else None, 0.0, *factors[1:], stride, padding)
    doubles = [v.double().requires_grad_() for v in (x, weight, bias)]
    true = functional.conv2d(*doubles, stride, padding)
    cancel = 1e-7 * max(x.norm(), weight.norm(), g.numel() ** 0.5)  # of few sums, all may come to nearly nothing
    assert (y - true).norm() <= 1e-6 * true.norm() + cancel * weight.norm()
    for a, b in zip(torch.autograd.grad(y, factors, g), torch.autograd.grad(true, doubles, g.double()), strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm() + cancel * g.norm()


@given(
    inputs=channels,
    outputs=channels,
    count=st.integers(1, 4),
    share=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    graded=st.booleans(),
    last=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 99),
    **pairs,
)
def test_convolutions_by_events(inputs, outputs, count, share, graded, last, seed, taps, stride, padding, more):
    size = [max(1, k - 2 * p) + n for k, p, n in zip(taps, padding, more, strict=True)]
    x = pictures((count, inputs, *size), share, seed, graded, last[0])
    weight, bias = torch.randn(outputs, inputs, *taps), torch.randn(outputs)
    seen = convolution.window(x.shape, weight.shape, stride, padding)
    agree(x, weight, bias, pictures((count, outputs, *seen.outputs), 1, seed, True, last[1]), stride, padding)


@pytest.mark.parametrize(("shape", "stride"), [((2, 7, 300, 9), 1), ((2, 7, 9, 700), 2), ((40, 65, 3, 3), 1)])
def test_tiles_that_end_within_pictures(shape, stride):
    x, weight = pictures(shape, 0.1, 0), torch.randn(33, shape[1], 3, 3)
    y = functional.conv2d(x, weight, None, stride, 1)
    agree(x, weight, torch.zeros(33), torch.randn(y.shape), (stride, stride), (1, 1))


def test_layout_is_torchs():
    x, weight = pictures((2, 7, 9, 9), 0.1, 0), torch.randn(33, 7, 3, 3)
    for form in ((x, weight), (_last(x), weight), (x, _last(weight))):
        y = convolution.convolution(form[0], None, 0.0, form[1], None, (1, 1), (1, 1))
        assert y.stride() == functional.conv2d(*form, None, 1, 1).stride()
        leaf = form[1].clone().requires_grad_()
        y = convolution.convolution(form[0], None, 0.0, leaf, None, (1, 1), (1, 1))
        assert torch.autograd.grad(y.sum(), leaf)[0].stride() == leaf.stride()


def _last(x):
    return x.contiguous(memory_format=torch.channels_last)


def test_threads_agree():
    x, weight, g = pictures((12, 40, 16, 16), 0.1, 0), torch.randn(70, 40, 3, 3), torch.randn(12, 70, 16, 16)
    bits, found, threads = convolution.look(x)[0], [], torch.get_num_threads()
    try:
        for count in (1, 3, 3):
            torch.set_num_threads(count)
            y = convolution.convolution(x, bits, 0.1, weight, None, (1, 1), (1, 1))
            found.append((y, convolution.weight_gradient(bits, x.shape, g, weight, (1, 1), (1, 1))))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-4)
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[1][1], found[2][1])


def test_with_and_without_bits_and_with_channels_last():
    x, weight = pictures((2, 7, 9, 9), 0.1, 0), torch.randn(33, 7, 3, 3, requires_grad=True)
    bits, share, spikes = convolution.look(x)
    assert spikes and 0 < share < 0.2
    for known, last in ((bits, False), (None, True), (None, False)):
        given = (_last(x) if last else x).clone().requires_grad_()
        found = []
        for y in (
            convolution.convolution(given, known, share, weight, None, (2, 1), (1, 0)),
            nn.functional.conv2d(given, weight, None, (2, 1), (1, 0)),
        ):
            found.append((y.detach(), *torch.autograd.grad(y.square().sum(), (given, weight))))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)

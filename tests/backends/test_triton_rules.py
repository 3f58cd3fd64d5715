"""Every rule on the GPU's kernels, in Triton's interpreter, at sizes that fill no block, however its inputs lie."""

import judging
import pytest
import torch

import ranvier as rv
from everything import NEURONS, drive

SIZES = (1, 7, 33, 257, 512, 513, 1025)

every_rule = pytest.mark.parametrize("neuron", NEURONS, ids=lambda kind: kind.__name__)
pytestmark = pytest.mark.usefixtures("poisoned")


def wide(kind, neurons):
    """The neuron with parameters of their own for each neuron."""
    layer, g = kind(), torch.Generator().manual_seed(neurons)
    for k in layer.learnable:
        value = getattr(layer, k).detach()
        spread = value * (1 - 0.1 * torch.rand(neurons, generator=g))
        delattr(layer, k)
        layer.register_parameter(k, torch.nn.Parameter(spread))
    return layer


@pytest.mark.slow
@every_rule
def test_sizes_that_fill_no_block(neuron):
    for neurons in SIZES:
        said = judging.scan(judging.case(neuron(), 9 if neurons <= 33 else 3, neurons))
        assert not said.problem and said.error <= 1e-5, f"{neurons} neurons: {said}"


@pytest.mark.slow
@every_rule
def test_parameters_of_each_neuron_and_short_inputs(neuron):
    said = judging.scan(judging.case(wide(neuron, 33), 9, 33))
    assert not said.problem and said.error <= 1e-5, str(said)
    for dtype in (torch.float16, torch.bfloat16):
        said = judging.scan(judging.case(wide(neuron, 33), 5, 33, dtype))
        assert not said.problem, f"{dtype}: {said}"


LAYOUTS = {
    "permuted": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "the same at every step": lambda x: x[:1].expand(x.shape),
    "the same for all": lambda x: x[:, :1, :1].expand(x.shape),
    "a part of a larger one": lambda x: torch.cat([x, x], 1)[:, 1 : 1 + x.shape[1]],
    "every other step": lambda x: x.repeat_interleave(2, 0)[::2],
}


@pytest.mark.slow
@every_rule
def test_however_inputs_lie(neuron):
    layer, given = neuron(), drive(neuron(), 6, (3, 7))
    many = isinstance(given, tuple)
    for name, lay in LAYOUTS.items():
        found = []
        for backend in ("reference", "triton"):
            leaves = [lay(x).detach().requires_grad_() for x in (given if many else (given,))]
            with rv.backend(backend):
                y = layer(tuple(leaves) if many else leaves[0])
            ys = [v for v in (y if isinstance(y, tuple) else (y,)) if v.requires_grad]
            found.append((y, torch.autograd.grad([v.square().sum() for v in ys], leaves, allow_unused=True)))
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.slow
@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("batch", [1, 7])
def test_recurrent_layers_of_widths_that_fill_no_block(width, batch):
    """In float64, where no order of sums moves a spike; above 512 step by step."""
    torch.manual_seed(width)
    layer = rv.Recurrent(wide(rv.ALIF, width), torch.nn.Linear(width, width)).double()
    x = torch.rand(4, batch, width, dtype=torch.float64) * 1.5
    found = []
    for backend in ("reference", "triton"):
        leaf = x.clone().requires_grad_()
        with rv.backend(backend):
            y = layer(leaf)
        found.append([y, *torch.autograd.grad(y.square().sum(), [leaf, *layer.parameters()], allow_unused=True)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)

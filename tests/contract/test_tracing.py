"""Tools that trace a network: compile, export, jit.trace, make_fx."""

import warnings

import pytest
import torch
from catalogue import CASES, tensors
from judge import close, gradients, leaves, outcome, run, weighed
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import ranvier as rv

FEW = [
    "LIF",
    "CubaLIF",
    "Recurrent",
    "nn.Linear+LIF",
    "rv.Linear+LIF+rv.Linear+LI",
    "rv.Linear+LIF+rv.Linear+Recurrent",
    "nn.Conv2d+BatchNorm2d+LIF+MaxPool2d",
    "nn.Conv2d+BatchNorm2d+LIF+MaxPool2d.eval",
    "deep",
]
few = pytest.mark.parametrize("name", FEW)
ALL = [name for name, case in CASES.items() if not isinstance(case.x(), tuple)]
# torch.compile and jit.trace warn of themselves
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def compiled(name):
    case = CASES[name]
    torch._dynamo.reset()
    net, x = case.net(), leaves(case.x())
    y = run(torch.compile(net, backend="aot_eager", fullgraph=True), x)
    wanted = outcome(case.net(), case.x())
    close([v.detach() for v in tensors(y)], wanted[0])
    close(gradients(weighed(y), net, x), wanted[1])


@quiet
@few
def test_compiled_in_one_graph(name):
    compiled(name)


@quiet
@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in CASES if name not in FEW])
def test_every_network_compiled_in_one_graph(name):
    compiled(name)


@quiet
def test_a_used_network_is_compiled_and_used_again():
    case = CASES["rv.Linear+LIF+rv.Linear+LI"]
    net, x = case.net(), case.x()
    first = outcome(net, x)
    torch._dynamo.reset()
    other = torch.compile(net, backend="aot_eager", fullgraph=True)
    close(tensors(other(x)), first[0])
    close(outcome(net, x)[0], first[0])
    close(tensors(other(case.x(steps=7))), tensors(net(case.x(steps=7))))


@quiet
@few
def test_exported(name):
    case = CASES[name]
    net, x = case.net().eval(), case.x()
    program = torch.export.export(net, (x,))
    close(tensors(program.module()(x)), tensors(net(x)))
    other = case.x(seed=5)
    close(tensors(program.module()(other)), tensors(net(other)))


@quiet
@few
def test_exported_for_any_number_of_samples(name):
    case = CASES[name]
    net, x = case.net().eval(), case.x()
    program = torch.export.export(net, (x,), dynamic_shapes=({1: torch.export.Dim("batch", min=2, max=256)},))
    more = torch.cat([x, case.x(seed=5)], 1)
    close(tensors(program.module()(more)), tensors(net(more)))


def jitted(name):
    case = CASES[name]
    net, x = case.net().eval(), case.x()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(net, (x,), check_trace=False)
        other = case.x(seed=5)
        close(tensors(traced(other)), tensors(net(other)))


@few
def test_jit_traced(name):
    """As TensorBoard's graph and fvcore do."""
    jitted(name)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in ALL if name not in FEW])
def test_every_network_jit_traced(name):
    jitted(name)


@few
def test_make_fx(name):
    case = CASES[name]
    net, x = case.net().eval(), case.x()
    traced = make_fx(net)(x)
    other = case.x(seed=5)
    close(tensors(traced(other)), tensors(net(other)))


@quiet
def test_scan_can_be_compiled():
    case = CASES["rv.Linear+LIF+rv.Linear+LI"]
    net, x = case.net(), case.x()
    torch._dynamo.reset()

    @torch.compile(backend="aot_eager", fullgraph=True)
    def both(x):
        y, state = rv.scan(net, x)
        z, state = rv.scan(net, x, state)
        return y, z, state

    y, state = rv.scan(net, x)
    z, state = rv.scan(net, x, state)
    close(tensors(both(x)), tensors([y, z, state]))


@quiet
@pytest.mark.parametrize("linear", [nn.Linear, rv.Linear], ids=["nn.Linear", "rv.Linear"])
def test_torch_func_through_rows_of_layers(linear):
    torch.manual_seed(0)
    net = rv.Sequential(linear(4, 6), rv.LIF(threshold=0.3), linear(6, 5), rv.LI())
    x = 2 * torch.rand(7, 3, 4)
    net(x)
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(net(leaf).square().sum(), leaf)
    close([torch.func.grad(lambda v: net(v).square().sum())(x)], [wanted])
    several = torch.stack([x, 2 * x])
    close([torch.func.vmap(net)(several)], [torch.stack([net(v) for v in several])])
    given = {n: p.detach() for n, p in net.named_parameters()}
    each = torch.func.jacrev(lambda p: torch.func.functional_call(net, p, (x,)).square().sum())(given)
    close(list(each.values()), gradients(net(x).square().sum(), net, ()))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:Please use quant_min")
def test_quantisation_sees_the_layers():
    """Quantisation replaces Ranvier's layers as it does torch's; one whose type it was not told of says so."""
    import torch.ao.quantization as quantization

    def quantised(*types):
        net = quantization.quantize_dynamic(rv.Sequential(rv.Linear(8, 6), rv.LIF()), set(types), dtype=torch.qint8)
        assert net(torch.rand(5, 2, 8)).shape == (5, 2, 6)
        return "quantized" in type(net[0]).__module__

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.warns(UserWarning, match=r"ranvier\.Linear is not quantised"):
            assert not quantised(nn.Linear)
        assert quantised(nn.Linear, rv.Linear)
        for layer, x in ((rv.Linear(8, 6), torch.rand(5, 2, 8)), (rv.Conv2d(1, 2, 3), torch.rand(5, 2, 1, 8, 8))):
            net = rv.Sequential(layer, rv.LIF()).train()
            net.qconfig = quantization.get_default_qat_qconfig("fbgemm")
            prepared = quantization.prepare_qat(net)
            assert "qat" in type(prepared[0]).__module__
            prepared(x).sum().backward()
            assert type(net[0]) is type(layer)

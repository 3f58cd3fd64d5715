"""A network is an `nn.Module`: whoever looks at single layers, or changes them, is served."""

import copy
import io
import pickle
from contextlib import contextmanager, nullcontext

import pytest
import torch
from catalogue import CASES, one_by_one, tensors
from judge import close, equal, floats, gradients, leaves, outcome, run, weighed
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, prune

import ranvier as rv


def _counted(net, x, backend, attach):
    """How often each layer was seen, in a network that has been used before."""
    with rv.backend(backend):
        run(net, x)
        seen = []
        handles = attach(net, seen)
        try:
            y = run(net, x)
            weighed(y).backward()
        finally:
            for handle in handles:
                handle.remove()
    names = {m: n for n, m in net.named_modules()}
    return sorted(names[m] for m in seen if m in names), y


ATTACH = {
    "forward": lambda net, seen: [m.register_forward_hook(lambda m, *_: seen.append(m)) for m in net.modules()],
    "before forward": lambda net, seen: [
        m.register_forward_pre_hook(lambda m, *_: seen.append(m)) for m in net.modules()
    ],
    "backward": lambda net, seen: [m.register_full_backward_hook(lambda m, *_: seen.append(m)) for m in net.modules()],
    "before backward": lambda net, seen: [
        m.register_full_backward_pre_hook(lambda m, *_: seen.append(m)) for m in net.modules()
    ],
    "global forward": lambda net, seen: [
        nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(m))  # type: ignore[list-item]
    ],
    "global before forward": lambda net, seen: [
        nn.modules.module.register_module_forward_pre_hook(lambda m, *_: seen.append(m))
    ],
    "global backward": lambda net, seen: [
        nn.modules.module.register_module_full_backward_hook(lambda m, *_: seen.append(m))
    ],
    "global before backward": lambda net, seen: [
        nn.modules.module.register_module_full_backward_pre_hook(lambda m, *_: seen.append(m))
    ],
}
_SINGLE = "ignore:Full backward hook is firing when gradients are computed with respect to module outputs"


@pytest.mark.filterwarnings(_SINGLE)
@pytest.mark.parametrize("hook", ATTACH)
def test_hooks_see_every_layer_of_a_row(stage, backend, hook):
    """As often as if the layers ran one by one, and they change no value."""
    x = stage.x().requires_grad_()
    net, loop = stage.net(), one_by_one(stage.net())
    found, y = _counted(net, x, backend, ATTACH[hook])
    wanted, _ = _counted(loop, x, backend, ATTACH[hook])
    assert found == wanted
    _, z = _counted(stage.net(), x, backend, lambda *_: [])
    close([y.detach()], [z.detach()])


def test_a_forward_put_on_an_instance_runs(stage, backend):
    """As profilers and `accelerate` wrap layers."""
    for at in range(len(list(stage.net().children()))):
        net, x, seen = stage.net(), stage.x(), []
        run(net, x, backend)
        layer, old = net[at], net[at].forward
        layer.forward = lambda *given, old=old, seen=seen: seen.append(1) or old(*given)
        y = run(net, x, backend)
        assert seen, f"the forward of layer {at} did not run"
        del layer.forward
        run(net, x, backend)
        other = stage.net()
        run(other, x, backend)
        close(tensors(y), tensors(run(other, x, backend)))


def test_hooks_may_change_what_passes(stage, backend):
    if stage.name.startswith("events"):
        pytest.skip("so many neurons that rounding behind a norm makes one of them spike")
    for at in range(len(list(stage.net().children()))):
        found = []
        for net in (stage.net(), one_by_one(stage.net())):
            run(net, stage.x(), backend)
            layer = list(net.children())[at]
            layer.register_forward_hook(lambda m, given, y: y * 0.5)
            layer.register_full_backward_hook(lambda m, g_in, g_out: tuple(g if g is None else 2 * g for g in g_in))
            x = stage.x().requires_grad_()
            y = run(net, x, backend)
            found.append(([y.detach()], gradients(weighed(y), net, x)))
        close(found[0][0], found[1][0])
        close(found[0][1], found[1][1], 1e-4)


def _copied(net):
    return copy.deepcopy(net)


def _pickled(net):
    return pickle.loads(pickle.dumps(net))


def _loaded(net):
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(net)
    for v in (*other.parameters(), *other.buffers()):
        v.detach().zero_()
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def _saved_whole(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def _on_meta(net):
    """Loaded as large models are: moved to no memory, then given tensors."""
    held = {k: v.clone() for k, v in net.state_dict().items()}
    net = net.to("meta")
    net.load_state_dict(held, assign=True)
    return net


COPIES = {"deepcopy": _copied, "pickle": _pickled, "state_dict": _loaded, "torch.save": _saved_whole, "meta": _on_meta}


@pytest.mark.parametrize("way", COPIES)
def test_copies_of_a_used_network_are_that_network(one, backend, way):
    net, x = one.net(), one.x()
    outcome(net, x, backend)
    if one.training:
        net.load_state_dict(one.net().state_dict())
    other = COPIES[way](net)
    wanted = outcome(one.net(), x, backend)
    found = outcome(other, x, backend)
    equal(found[0], wanted[0])
    equal(found[1], wanted[1])
    if way != "meta":  # the first lost its memory there
        equal(outcome(_fresh(net, one), x, backend)[1], wanted[1])


def _fresh(net, case):
    net.load_state_dict(case.net().state_dict())
    return net


def test_networks_are_built_on_meta(one, backend):
    """Without memory or random numbers, by `torch.device("meta")`, and loaded afterwards."""
    with torch.device("meta"):
        torch.manual_seed(0)
        net = one.build().train(one.training)
    assert all(v.is_meta for v in net.parameters())
    held = one.net().state_dict()
    net.load_state_dict({k: v.clone() for k, v in held.items()}, assign=True)
    left = [n for n, v in net.named_buffers() if v.is_meta]
    assert not left, f"{left} are not loaded"
    found, wanted = outcome(net, one.x(), backend), outcome(one.net(), one.x(), backend)
    equal(found[0], wanted[0])
    equal(found[1], wanted[1])


def test_a_network_on_meta_gives_shapes(one, backend):
    x = one.x()
    on_meta = tuple(v.to("meta") for v in x) if isinstance(x, tuple) else x.to("meta")
    found, wanted = tensors(one.net().to("meta")(on_meta)), tensors(one.net()(x))
    assert [(v.shape, v.dtype, v.is_meta) for v in found] == [(v.shape, v.dtype, True) for v in wanted]


def test_functional_call_uses_the_given_tensors(case, backend):
    net, x = case.net(), case.x()
    with rv.backend(backend):
        run(net, x)
    given = {n: (v.detach() * 0.9).requires_grad_() for n, v in net.named_parameters()}
    held = {n: v.clone() for n, v in case.net().named_buffers()}
    with rv.backend(backend):
        y = run(lambda v: functional_call(net, {**given, **held}, (v,)), x)
    other = case.net()
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(0.9)
    with rv.backend(backend):
        z = run(other, x)
    equal([v.detach() for v in tensors(y)], [v.detach() for v in tensors(z)])
    if not given or not weighed(z).requires_grad:
        return
    gs = torch.autograd.grad(weighed(y), list(given.values()), allow_unused=True)
    found = [torch.zeros_like(v) if g is None else g for v, g in zip(given.values(), gs, strict=True)]
    equal(found, gradients(weighed(z), other, ()))


def test_layers_may_share_parameters_and_stand_twice():
    torch.manual_seed(0)
    for linear in (nn.Linear, rv.Linear):
        one, lif, other = linear(6, 6), rv.LIF(threshold=0.3), linear(6, 6)
        other.weight = one.weight
        net = rv.Sequential(one, lif, one, lif, other, rv.Recurrent(rv.LIF(), one))
        x = 2 * torch.rand(7, 3, 6)
        found, wanted = outcome(net, x), outcome(one_by_one(net), x, "reference")
        close(found[0], wanted[0])
        close(found[1], wanted[1])


def _add_neuron(net):
    net.insert(2, nn.Linear(6, 6))


def _replace_neuron(net):
    net[1] = rv.LIF(threshold=0.1, beta=0.2)


def _replace_weight(net):
    net[0].weight = nn.Parameter(net[0].weight.detach() * 2)


def _write_parameter(net):
    with torch.no_grad():
        net[0].weight.mul_(2)
        net[1].beta.fill_(0.3)


def _replace_buffer(net):
    net[1].beta = torch.tensor(0.25)


def _wider(net):
    net[0], net[2] = nn.Linear(4, 9), nn.Linear(9, 5)


CHANGES = {
    "a layer put in": _add_neuron,
    "a layer taken out": lambda net: net.__delitem__(slice(2, 4)),
    "another neuron": _replace_neuron,
    "another weight": _replace_weight,
    "parameters written": _write_parameter,
    "another leak": _replace_buffer,
    "other widths": _wider,
    "float64": lambda net: net.double(),
    "frozen": lambda net: net.requires_grad_(False),
    "one frozen": lambda net: net[0].requires_grad_(False),
    "leak learned": lambda net: _learn(net[1]),
    "weight norm": lambda net: parametrizations.weight_norm(net[0]),
    "spectral norm": lambda net: parametrizations.spectral_norm(net[0]),
    "pruned": lambda net: prune.l1_unstructured(net[0], "weight", 0.5),
    "no bias": lambda net: setattr(net[0], "bias", None),
    "a wrapped forward": lambda net: setattr(net[0], "forward", lambda x, f=net[0].forward: 2 * f(x)),
    "a wrapped neuron": lambda net: setattr(net[1], "forward", lambda x, f=net[1].forward: 2 * f(x)),
    "a wrapped run": lambda net: setattr(net[1], "run", lambda *a, f=net[1].run: f(2 * a[0], *a[1:])),
    "a hook": lambda net: net[0].register_forward_hook(lambda m, a, y: y * 2),
    "a hook before": lambda net: net[3].register_forward_pre_hook(lambda m, a: (a[0] * 2,)),
    "a layer of one's own": lambda net: setattr(net[0], "__class__", _Doubled),
    "another surrogate": lambda net: net.__setitem__(1, rv.LIF(threshold=0.3, surrogate=rv.surrogate.boxcar(0.5))),
    "the last one again": lambda net: net.append(net[3]),
}


def _learn(neuron):
    beta = neuron.beta.detach().clone()
    del neuron.beta
    neuron.register_parameter("beta", nn.Parameter(beta))


class _Doubled(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


@pytest.mark.parametrize("linear", [nn.Linear, rv.Linear], ids=["nn.Linear", "rv.Linear"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_in_a_used_network_counts(linear, change):
    """A network that ran before a change gives what its layers give one by one after it."""

    def used():
        torch.manual_seed(0)
        net = rv.Sequential(linear(4, 6), rv.LIF(threshold=0.3), linear(6, 5), rv.LI())
        outcome(net, x)
        torch.manual_seed(2)
        CHANGES[change](net)
        return net

    x = 2 * torch.rand(7, 3, 4)
    net, other = used(), used()
    given = x.double() if change == "float64" else x
    loop = nn.ModuleList(list(other))

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = loop

        def forward(self, x):
            for layer in self.layers:
                x = layer(x) if isinstance(layer, rv.Temporal) else rv.Fold(layer)(x)
            return x

    found, wanted = outcome(net, given), outcome(Loop(), given, "reference")
    close(found[0], wanted[0])
    close(found[1], wanted[1], 1e-4)  # behind spectral norm, differences of large numbers


@pytest.mark.parametrize(
    "name", ["nn.Conv2d+BatchNorm2d+LIF+MaxPool2d", "rv.Conv2d+ThresholdBatchNorm2d+LIF+AvgPool2d"]
)
def test_modes_may_change(name):

    case = CASES[name]
    net, loop, x = case.net(), one_by_one(case.net()), case.x()
    for training in (True, False, True, False):
        net.train(training)
        loop.train(training)
        found, wanted = outcome(net, x), outcome(loop, x, "reference")
        close(found[0], wanted[0])
        close(found[1], wanted[1])
    close([v.float() for v in net.buffers()], [v.float() for v in loop.buffers()])


def test_statistics_go_on_as_those_of_the_layers_do(stage, backend):
    net, loop = stage.net(), one_by_one(stage.net())
    for seed in (1, 2):
        run(net, stage.x(seed=seed), backend)
        run(loop, stage.x(seed=seed), "reference")
    close([v.float() for v in net.buffers()], [v.float() for v in loop.buffers()])


def test_leaves_of_a_user_get_their_gradients_through_hooks_on_tensors(kind, backend):
    """`register_hook` and `register_post_accumulate_grad_hook`, as optimizers in backward use them."""
    net, x, seen = kind.net(), leaves(kind.x()), []
    for p in net.parameters():
        p.register_post_accumulate_grad_hook(seen.append)
    for v in tensors(x):
        v.register_hook(lambda g: g * 2)
    with rv.backend(backend):
        total = weighed(run(net, x))
    if not total.requires_grad:
        return
    total.backward()
    _, wanted = outcome(kind.net(), kind.x(), backend)
    close(
        [torch.zeros_like(v) if v.grad is None else v.grad for v in tensors(x)],
        [2 * g for g in wanted[: len(tensors(x))]],
    )
    assert len({id(p) for p in seen}) == len(seen)


@contextmanager
def _dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


DEFAULTS = {"dtype": _dtype, "device": lambda: torch.device("meta")}


@pytest.mark.parametrize("default", DEFAULTS)
def test_defaults_of_torch_change_no_result(case, backend, default):
    """The dtype and the device of a network are those of its tensors, not torch's defaults."""
    found, weights = [], None
    for place in (nullcontext, DEFAULTS[default]):
        net, x = case.net(), leaves(case.x())
        wanted = [v for v in (*tensors(x), *net.parameters()) if v.requires_grad]
        with place(), rv.backend(backend):
            y = [v for v in floats(run(net, x)) if v.requires_grad]
            weights = weights or [torch.rand_like(v) for v in y]
            found.append([v.detach() for v in y])
            found[-1] += [g for g in torch.autograd.grad(y, wanted, weights, allow_unused=True) if g is not None]
    equal(found[1], found[0])

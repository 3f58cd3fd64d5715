"""Layers in a row are run by one function; a short sequence is one chunk, and equals a sequence of many."""

import copy
import sys
import threading
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import ranvier as rv
from ranvier.spikes import chunked, product, row

NETS = {
    "two layers": lambda: rv.Sequential(nn.Linear(6, 11), rv.LIF(), rv.Linear(11, 3), rv.LI()),
    "three, the first without bias": lambda: rv.Sequential(
        rv.Linear(6, 7, bias=False), rv.ALIF(), nn.Linear(7, 9), rv.LIF(reset="zero"), rv.Linear(9, 2), rv.LI()
    ),
    "learned": lambda: rv.Sequential(
        nn.Linear(6, 5), rv.LIF(learn=("beta", "threshold"), shape=5), nn.Linear(5, 4), rv.ALIF(learn="beta")
    ),
    "recurrent": lambda: rv.Sequential(
        rv.Linear(6, 17), rv.Recurrent(rv.ALIF(learn="rho"), 17), nn.Linear(17, 3), rv.LI()
    ),
    "recurrent at the end": lambda: rv.Sequential(nn.Linear(6, 1), rv.Recurrent(rv.LIF(), 1)),
}


@pytest.fixture
def runs(monkeypatch):
    """How many layers went at once, each time."""
    seen, run = [], row.run
    monkeypatch.setattr(row, "run", lambda x, links, states: [seen.append(len(links)), run(x, links, states)][1])
    return seen


def played(net, x, still=False):
    given = x.clone().requires_grad_()
    y = net(given)
    generator = torch.Generator().manual_seed(1)
    like = y[:1] if still else y
    y.backward(torch.rand(like.shape, generator=generator, dtype=y.dtype).expand(y.shape))
    return y.detach(), given.grad, *(p.grad for p in net.parameters())


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (13, 1), (9, 10)], ids=str)
def test_equal_to_chunk_by_chunk(kind, size, runs, monkeypatch):
    torch.manual_seed(0)
    net, x = NETS[kind](), 3 * torch.rand(*size, 6)
    for still in (False, True):
        one = played(copy.deepcopy(net), x, still)
        with monkeypatch.context() as small:
            small.setattr(product, "SMALL", 1)
            other = played(copy.deepcopy(net), x, still)
        assert torch.equal(one[0], other[0])
        torch.testing.assert_close(one[1:], other[1:], rtol=1e-5, atol=1e-6)
    assert runs == 4 * [len(net) // 2]


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("most", [16, 40, 100, 230])
@pytest.mark.parametrize("steps", [2, 37, 64])
def test_chunks_of_different_lengths(kind, most, steps, monkeypatch):
    """Each link has chunks of its own; backward hands gradients on chunk by chunk."""
    torch.manual_seed(0)
    net, x = NETS[kind](), 3 * torch.rand(steps, 2, 6)
    one = played(copy.deepcopy(net), x)
    for name, value in (("CHUNK", most), ("SHARED", most), ("ROWS", 1)):
        monkeypatch.setattr(chunked, name, value)
    monkeypatch.setattr(product, "SMALL", 1)
    torch.testing.assert_close(played(net, x), one, rtol=1e-5, atol=1e-6)


def test_a_chunk_consists_of_whole_chunks_of_another_layer():
    spans = [chunked.chunks(1000, 7, 3, width, False) for width in (1, 50, 700, 3000, 100_000)]
    starts = [{span.start for span in one} for one in spans]
    assert all(few <= many for few, many in pairwise(starts))
    assert len(set(map(len, spans))) > 2


def test_double_precision(runs):
    torch.manual_seed(0)
    net, x = NETS["learned"]().double(), 3 * torch.rand(7, 2, 6, dtype=torch.float64)
    one = played(copy.deepcopy(net), x)
    assert runs == [2]
    with rv.backend("reference"):
        other = played(net, x)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", NETS)
def test_frozen_weights_get_no_gradient_and_the_others_theirs(kind, runs):
    torch.manual_seed(0)
    net, x = NETS[kind](), 3 * torch.rand(7, 2, 6)
    _, _, *whole = played(copy.deepcopy(net), x)
    for k in range(len(whole)):
        some = copy.deepcopy(net)
        list(some.parameters())[k].requires_grad_(False)
        some(x).backward(torch.ones_like(net(x)))
        _, _, *part = played(copy.deepcopy(some), x)
        torch.testing.assert_close(part, [None if at == k else g for at, g in enumerate(whole)])


def test_sizes_and_surroundings_may_change_between_calls(runs):
    net, x = NETS["two layers"](), 3 * torch.rand(7, 4, 6)
    whole = net(x)
    for part in (x[:3], x[:, :1], x[::2], x.transpose(0, 1).contiguous().transpose(0, 1)):
        torch.testing.assert_close(net(part)[0], whole[0, : part.shape[1]], rtol=1e-5, atol=1e-6)
    with torch.inference_mode():
        assert torch.equal(net(x), whole)
    net[1].beta.data.fill_(0.2)
    net[1].surrogate = rv.surrogate.atan(5.0)
    changed = played(net, x)
    with rv.backend("reference"):
        torch.testing.assert_close(changed, played(copy.deepcopy(net), x), rtol=1e-4, atol=1e-5)
    assert not torch.equal(changed[0], whole)
    assert set(runs) == {2}


def test_the_output_is_its_own_and_threads_do_not_meet(runs):
    net = NETS["recurrent at the end"]()
    xs = [3 * torch.rand(40, k + 1, 6) for k in range(4)]
    alone, found = [played(copy.deepcopy(net), x) for x in xs], {}
    y = net(xs[0])
    y.zero_()
    y.sum().backward()

    def work(k):
        for _ in range(20):
            found[k] = played(copy.deepcopy(net), xs[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    torch.testing.assert_close([found[k] for k in range(4)], alone)


def test_a_parameter_of_the_wrong_shape_is_refused_with_the_name_of_its_layer(runs):
    net = rv.Sequential(nn.Linear(6, 5), rv.LIF(), nn.Linear(5, 4), rv.LIF(shape=3))
    with pytest.raises(ValueError, match=r"layers 2 to 3 .*'beta' has shape \(3,\)"):
        net(torch.rand(7, 2, 6))


def test_a_forward_pass_of_a_small_network_changes_files_seldom():
    net, x, changes = NETS["two layers"](), torch.rand(10, 8, 6), []
    net(x)

    def note(frame, event, _):
        if event == "call":
            caller = frame.f_back.f_code.co_filename if frame.f_back else ""  # a kernel has no caller
            changes.append(frame.f_code.co_filename != caller)

    sys.setprofile(note)
    try:
        net(x)
    finally:
        sys.setprofile(None)
    assert sum(changes) <= 35


class Marked(torch.Tensor):
    """A tensor of a class of its own, whose operations torch calls by its own rules."""


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_tensor_of_another_class_is_left_to_torch(name, runs):
    net, x = NETS["two layers"](), torch.rand(9, 2, 6)
    true = net(x)
    given = getattr(net[0], name).detach().as_subclass(Marked)
    delattr(net[0], name)
    setattr(net[0], name, given)
    runs.clear()
    torch.testing.assert_close(net(x).as_subclass(torch.Tensor), true)
    assert not runs or runs[0] < 2


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_pruned_layer_is_computed_with_what_is_left(name, runs):
    """Pruning, and whoever computes a weight anew, leaves a plain tensor in the place of a parameter."""
    net, x = NETS["two layers"](), 3 * torch.rand(9, 2, 6)
    prune.random_unstructured(net[0], name, amount=0.4)
    with rv.backend("reference"):
        true = net(x)
    torch.testing.assert_close(net(x), true)

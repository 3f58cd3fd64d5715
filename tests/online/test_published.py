"""Each published method, written by hand from its paper, gives the gradients that are derived from the rule."""

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier import Neuron, Param, State
from ranvier.ops import spike, stop

T, B, INPUTS, N, OUT = 17, 3, 4, 6, 2
ALPHA, RHO, BETA, THRESHOLD, KAPPA, GAMMA = 0.9, 0.97, 0.3, 0.8, 0.85, 0.3


@pytest.fixture(autouse=True)
def _double(request):
    """Parameters are the very numbers of this file, not those of single precision. One test goes by kernels."""
    torch.set_default_dtype(torch.float64)
    with rv.backend("numba" if "all_feedbacks" in request.node.name else "reference"):
        yield
    torch.set_default_dtype(torch.float32)


class PaperALIF(Neuron):
    """Bellec et al. 2020: the spike of the step before is a state, and resets; with beta = 0 it is their LIF."""

    alpha = Param(ALPHA)
    rho = Param(RHO)
    beta = Param(BETA)
    threshold = Param(THRESHOLD)
    v, a, z = State(0.0), State(0.0), State(0.0)

    @staticmethod
    def rule(x, v, a, z, alpha, rho, beta, threshold):
        v = alpha * v + x - stop(z) * threshold
        a = rho * a + z
        z = spike(v - threshold - beta * a)
        return z, (v, a, z)


def pseudo(v, a, beta):
    """Their pseudo-derivative: (gamma / v_th) max(0, 1 - |v - A| / v_th)."""
    return GAMMA / THRESHOLD * torch.clamp(1 - ((v - THRESHOLD - beta * a) / THRESHOLD).abs(), min=0.0)


def paper_surrogate():
    return rv.surrogate.custom(
        lambda u: GAMMA / THRESHOLD * rv.ops.maximum(1.0 - rv.ops.abs(u * (1.0 / THRESHOLD)), 0.0)
    )


def network(neuron):
    torch.manual_seed(3)
    net = rv.Sequential(
        nn.Linear(INPUTS, N, bias=False), rv.Recurrent(neuron, N), nn.Linear(N, OUT), rv.LI(beta=KAPPA)
    ).double()
    nn.init.uniform_(net[0].weight, 0.0, 1.0)
    return net


def eprop_by_hand(net, x, target, beta, feedback, own_reset):
    """Bellec et al. 2020: dE/dW_ji = sum_t L_j e~_ji, L_j = sum_k B_jk (y_k - y*_k).

    own_reset: the layer of the library resets v itself; else the neuron of the paper.
    """
    w_in, w_rec, w_out, b_out = net[0].weight, net[1].feedback.weight, net[2].weight, net[2].bias
    v, a, z, y = (x.new_zeros(B, n) for n in (N, N, N, OUT))
    traces = [x.new_zeros(B, k) for k in (INPUTS, N)]  # x~_i and z~_i: filtered with alpha
    epsilon = [x.new_zeros(B, N, k) for k in (INPUTS, N)]  # of the adaptation
    low = [x.new_zeros(B, N, k) for k in (INPUTS, N)]  # e~: filtered with kappa
    low_z, grads = x.new_zeros(B, N), [torch.zeros_like(w_in), torch.zeros_like(w_rec), torch.zeros_like(w_out)]
    for t in range(T):
        traces = [ALPHA * s + now for s, now in zip(traces, (x[t], z), strict=True)]
        current = x[t] @ w_in.T + z @ w_rec.T
        if own_reset:
            v = ALPHA * v + current
            theta = THRESHOLD + beta * a
        else:
            v, a = ALPHA * v + current - z * THRESHOLD, RHO * a + z
            theta = THRESHOLD + beta * a
        psi = pseudo(v, a, beta)
        z = (v >= theta).double()
        e = [psi[:, :, None] * (s[:, None, :] - beta * eps) for s, eps in zip(traces, epsilon, strict=True)]
        epsilon = [
            psi[:, :, None] * s[:, None, :] + (RHO - psi * beta)[:, :, None] * eps
            for s, eps in zip(traces, epsilon, strict=True)
        ]
        if own_reset:
            v, a = v - z * theta if beta == 0.0 else v, RHO * a + z
        low = [KAPPA * f + now for f, now in zip(low, e, strict=True)]
        low_z = KAPPA * low_z + z
        y = KAPPA * y + z @ w_out.T + b_out
        error = y - target[t]
        signal = error @ feedback  # [B, N]
        for k in range(2):
            grads[k] += (signal[:, :, None] * low[k]).sum(0)
        grads[2] += error.T @ low_z
    return grads


def found(net, x, target, gradient, **how):
    learner = rv.online.Learner(net, gradient, **how)
    net.zero_grad()
    (0.5 * (learner(x) - target).square()).sum().backward()
    return learner


def same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        assert (a - b).abs().max() < 1e-10 and b.abs().max() > 1e-3


def data():
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(T, B, INPUTS, generator=generator, dtype=torch.float64)
    return x, torch.rand(T, B, OUT, generator=generator, dtype=torch.float64)


def learned(net):
    return [net[0].weight.grad, net[1].feedback.weight.grad, net[2].weight.grad]


def test_eprop_is_the_published_one_for_lif_and_alif_with_all_feedbacks():
    x, target = data()
    for beta in (0.0, BETA):
        net = network(PaperALIF(beta=beta, surrogate=paper_surrogate()))
        found(net, x, target, "eprop")
        with torch.no_grad():
            same(learned(net), eprop_by_hand(net, x, target, beta, net[2].weight, own_reset=False))
        learner = found(net, x, target, "eprop", feedback="random")
        with torch.no_grad():
            same(learned(net), eprop_by_hand(net, x, target, beta, learner.feedback_1, own_reset=False))
        learner = found(net, x, target, "eprop", feedback="adaptive")
        with torch.no_grad():
            wanted = eprop_by_hand(net, x, target, beta, learner.feedback_1, own_reset=False)
            same([*learned(net), learner.feedback_1.grad], [*wanted, wanted[2]])


def test_eprop_of_the_librarys_own_lif_and_alif():
    """The same formula; the reset of LIF belongs to the step of the spike, and is detached by the method. The library's
    ALIF resets by its risen threshold, through which the paper's has no gradient: it is judged without a reset.
    """
    x, target = data()
    surrogate = paper_surrogate()
    for beta, neuron in (
        (0.0, rv.LIF(beta=ALPHA, threshold=THRESHOLD, surrogate=surrogate)),
        (BETA, rv.ALIF(beta=ALPHA, rho=RHO, kappa=BETA, threshold=THRESHOLD, surrogate=surrogate, reset="none")),
    ):
        net = network(neuron)
        found(net, x, target, "eprop")
        with torch.no_grad():
            same(learned(net), eprop_by_hand(net, x, target, beta, net[2].weight, own_reset=True))


def test_ottt_is_the_published_recursion():
    """Xiao et al. 2022: a^[t] = lambda a^[t-1] + s[t]; the gradient of W is g_u[t] a^[t]."""
    torch.manual_seed(0)
    x, target = data()
    leak, surrogate = 0.7, rv.surrogate.sigmoid(4.0)
    lif = [rv.LIF(beta=leak, surrogate=surrogate) for _ in range(2)]
    net = rv.Sequential(nn.Linear(INPUTS, N), lif[0], nn.Linear(N, N), lif[1], nn.Linear(N, OUT)).double()
    for layer in (net[0], net[2]):
        nn.init.uniform_(layer.weight, 0.0, 1.0)
    found(net, x, target, "ottt")
    w, b = [net[k].weight.detach() for k in (0, 2, 4)], [net[k].bias.detach() for k in (0, 2, 4)]
    u, traces = [x.new_zeros(B, N) for _ in lif], [x.new_zeros(B, n) for n in (INPUTS, N)]
    grads = [torch.zeros_like(v) for v in w]
    for t in range(T):
        s, slopes = x[t], []
        shown = []
        for k in range(2):
            traces[k] = leak * traces[k] + s
            shown.append(traces[k])
            u[k] = leak * u[k] + s @ w[k].T + b[k]
            slopes.append(surrogate(u[k] - 1.0))
            s = (u[k] >= 1.0).double()
            u[k] = u[k] - s
        error = s @ w[2].T + b[2] - target[t]
        grads[2] += error.T @ s
        g = error @ w[2] * slopes[1]
        grads[1] += g.T @ shown[1]
        g = g @ w[1] * slopes[0]
        grads[0] += g.T @ shown[0]
    same([net[k].weight.grad for k in (0, 2, 4)], grads)


def test_sltt_is_the_present_step_alone():
    """Meng et al. 2023: what of backpropagation through time stays if nothing flows from step to step."""
    x, target = data()
    net = rv.Sequential(nn.Linear(INPUTS, N), rv.LIF(learn=("beta",)), nn.Linear(N, OUT)).double()
    found(net, x, target, "sltt")
    got = {n: p.grad.clone() for n, p in net.named_parameters()}
    net.zero_grad()
    state = None
    for t in range(T):
        y, state = rv.step(net, x[t], rv.detach(state))
        (0.5 * (y - target[t]).square()).sum().backward()
    for name, p in net.named_parameters():
        torch.testing.assert_close(got[name], p.grad, rtol=1e-10, atol=1e-12)

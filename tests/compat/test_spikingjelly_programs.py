"""What programs written for SpikingJelly do with it: names they use, attributes they set, classes they subclass."""

import copy
import importlib
import inspect
import subprocess
import sys

import pytest
import torch
from torch import nn

import ranvier
from ranvier.compat.spikingjelly.activation_based import (
    ann2snn,
    base,
    functional,
    layer,
    monitor,
    neuron,
    rnn,
    surrogate,
)
from ranvier.compat.spikingjelly.clock_driven import neuron as sequences

ROOT = "ranvier.compat.spikingjelly"
OLD = "tau decay_input v_threshold v_reset surrogate_function detach_reset backend lava_s_cale"
# What public projects import.
NAMES = {
    "activation_based.neuron": (
        "BaseNode AdaptBaseNode IFNode LIFNode ParametricLIFNode QIFNode EIFNode IzhikevichNode KLIFNode LIAFNode "
        "CUBALIFNode PSN MaskedPSN SlidingPSN GatedLIFNode OTTTLIFNode SLTTLIFNode"
    ),
    "activation_based.surrogate": (
        "SurrogateFunctionBase MultiArgsSurrogateFunctionBase ATan Sigmoid SoftSign PiecewiseQuadratic PiecewiseExp "
        "Erf LeakyKReLU PiecewiseLeakyReLU NonzeroSignLogAbs SquarewaveFourierSeries S2NN QPseudoSpike LogTailedReLU "
        "FakeNumericalGradient heaviside sigmoid atan soft_sign piecewise_quadratic piecewise_exp erf leaky_k_relu "
        "piecewise_leaky_relu nonzero_sign_log_abs squarewave_fourier_series s2nn q_pseudo_spike log_tailed_relu rect "
        "fake_numerical_gradient super_spike deterministic_pass poisson_pass sigmoid_backward atan_backward"
    ),
    "activation_based.functional": (
        "reset_net detach_net set_step_mode set_backend multi_step_forward chunk_multi_step_forward seq_to_ann_forward "
        "first_spike_index redundant_one_hot temporal_efficient_training_cross_entropy kernel_dot_product "
        "spike_similar_loss set_threshold_margin kaiming_normal_conv_linear_weight delay"
    ),
    "activation_based.base": (
        "StepModule SingleModule SingleStepModule MultiStepModule MemoryModule check_backend_library"
    ),
    "activation_based.monitor": (
        "BaseMonitor OutputMonitor InputMonitor AttributeMonitor GradInputMonitor GradOutputMonitor unpack_len1_tuple"
    ),
    "activation_based.rnn": (
        "SpikingRNNCellBase SpikingRNNBase SpikingVanillaRNNCell SpikingVanillaRNN SpikingGRUCell SpikingGRU "
        "SpikingLSTMCell SpikingLSTM"
    ),
    "activation_based.encoding": (
        "PoissonEncoder LatencyEncoder PeriodicEncoder WeightedPhaseEncoder StatefulEncoder StatelessEncoder PopEncoder"
    ),
    "activation_based.learning": "STDPLearner MSTDPLearner MSTDPETLearner",
    "activation_based.ann2snn": "Converter",
    "clock_driven.neuron": (
        "BaseNode IFNode LIFNode ParametricLIFNode MultiStepIFNode MultiStepLIFNode MultiStepParametricLIFNode "
        "MultiStepEIFNode AdaptiveBaseNode"
    ),
    "clock_driven.layer": (
        "SeqToANNContainer MultiStepContainer Dropout MultiStepDropout MultiStepDropout2d SynapseFilter NeuNorm "
        "MultiStepThresholdDependentBatchNorm2d MultiStepTemporalWiseAttention DropConnectLinear"
    ),
    "clock_driven.surrogate": "ATan Sigmoid sigmoid heaviside",
    "clock_driven.functional": "reset_net seq_to_ann_forward multi_step_forward set_threshold_margin",
    "clock_driven.encoding": "PoissonEncoder",
    "clock_driven.monitor": "Monitor",
    "clock_driven.rnn": "SpikingLSTM",
    "clock_driven.base": "MemoryModule",
    "clock_driven.ann2snn": "Converter",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_that_projects_import(module):
    found = importlib.import_module(f"{ROOT}.{module}")
    assert [n for n in NAMES[module].split() if not hasattr(found, n)] == []


def test_names_of_sequences_take_their_old_arguments():
    assert " ".join(inspect.signature(sequences.MultiStepLIFNode).parameters) == OLD
    assert " ".join(inspect.signature(sequences.MultiStepParametricLIFNode).parameters) == f"init_{OLD}"
    assert " ".join(inspect.signature(sequences.MultiStepIFNode).parameters) == OLD.removeprefix("tau decay_input ")


def test_install_puts_the_names_where_a_program_looks():
    script = (
        "from ranvier import compat; compat.install('spikingjelly'); "
        "import spikingjelly.clock_driven.functional as f; from spikingjelly.activation_based import neuron, layer; "
        "from spikingjelly.clock_driven.neuron import MultiStepLIFNode; print(neuron.LIFNode.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(ROOT)


SHARED = {"v_threshold": 0.6, "v_reset": None, "surrogate_function": surrogate.ATan(), "detach_reset": True}
LEAKY = {"tau": 3.0, "decay_input": False}
POINT = {"tau": 3.0, "v_rest": 0.1}
# The published attributes of each class, by another value than the default.
ATTRIBUTES = {
    "IFNode": SHARED,
    "LIFNode": {**SHARED, **LEAKY},
    "ParametricLIFNode": {**SHARED, "decay_input": False},
    "KLIFNode": {**SHARED, **LEAKY},
    "CUBALIFNode": {**SHARED, "c_decay": 0.8, "v_decay": 0.5},
    "ComplementaryLIFNode": {"tau": 3.0, "v_threshold": 0.6, "surrogate_function": surrogate.ATan()},
    "HalfThresholdIFNode": {"surrogate_function": surrogate.ATan(), "detach_reset": True},
    "TernaryIFNode": SHARED,
    "TernaryLIFNode": {**SHARED, **LEAKY},
    "ILIFNode": {"tau": 3.0, "v_threshold": 0.6, "surrogate_function": surrogate.MultiLevelSpikeCount(1)},
    "QIFNode": {**SHARED, **POINT, "v_c": 0.5, "a0": 2.0},
    "EIFNode": {**SHARED, **POINT, "delta_T": 0.5, "theta_rh": 0.5},
    "IzhikevichNode": {**SHARED, **POINT, "v_c": 0.5, "a0": 2.0, "tau_w": 3.0, "a": 0.5, "b": 0.5},
    "RAFNode": {**SHARED, "b": -0.5, "omega": 0.5, "dt": 0.5},
}


def run(node):
    torch.manual_seed(0)
    x = (3 * torch.rand(8, 4, 5)).requires_grad_()
    node.step_mode = "m"
    y = node(x)
    (y * torch.rand(y.shape)).sum().backward()
    return y.detach(), x.grad


@pytest.mark.parametrize("name, attribute", [(n, a) for n, own in ATTRIBUTES.items() for a in own])
def test_an_attribute_acts_when_it_is_set(name, attribute):
    make, value = getattr(neuron, name), ATTRIBUTES[name][attribute]
    other = {"v_reset": 0.0} if attribute == "v_reset" else {}  # so that the membrane begins where it would
    more = {"a": 0.5} if name == "IzhikevichNode" and attribute == "tau_w" else {}
    with ranvier.backend("reference"):
        node = make(**other, **more)
        before = run(node)
        assert not any(t is None for t in before)
        node.reset()
        setattr(node, attribute, value)
        after, wanted = run(node), run(make(**{**more, attribute: value}))
    assert getattr(node, attribute) is value
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for a, b in zip(after, wanted, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)  # EIF without a reset to a level runs away


def test_the_reset_of_a_gain_is_scaled_when_it_is_asked_for():
    with ranvier.backend("reference"):
        found = []
        for scaled in (False, True):
            node = neuron.KLIFNode()
            nn.init.constant_(node.k, 1.5)
            node.scale_reset = scaled
            run(node)
            found.append(node.v)
    assert not torch.equal(*found)


def test_a_surrogate_is_annealed_in_place():
    with ranvier.backend("reference"):
        node = neuron.LIFNode(surrogate_function=surrogate.ATan(2.0))
        node.surrogate_function.alpha = 5.0
        assert torch.equal(run(node)[1], run(neuron.LIFNode(surrogate_function=surrogate.ATan(5.0)))[1])


def test_training_acts_when_it_is_set_as_an_attribute():
    dropout, x = layer.Dropout(0.5), torch.ones(2, 50)
    assert not torch.equal(dropout(x), x)
    dropout.training = False
    assert torch.equal(dropout(x), x)


def test_attributes_of_layers_act():
    x = torch.rand(4, 3, 5)
    drop = layer.Dropout(0.5, step_mode="m")
    drop.p = 0.0
    assert torch.equal(drop(x), x) and torch.equal(drop.mask, torch.ones(3, 5))
    drop.mask = torch.zeros(3, 5)
    assert drop(x).sum() == 0
    with pytest.raises(ValueError, match="p must lie"):
        drop.p = 1.5
    late = layer.Delay(1, step_mode="m")
    late.delay_steps = 2
    assert torch.equal(late(x)[2:], x[:2]) and len(late.queue) == 2
    vote = layer.VotingLayer(5)
    vote.voting_size = 1
    assert vote(x).shape == x.shape
    synapse = layer.SynapseFilter(tau=100.0, step_mode="m")
    synapse.tau = 2.0
    torch.testing.assert_close(synapse(x), layer.SynapseFilter(tau=2.0, step_mode="m")(x))
    sparse = layer.DropConnectLinear(5, 3, p=0.5)
    sparse.p = 0.0
    torch.testing.assert_close(sparse(x[0]), torch.relu(nn.functional.linear(x[0], sparse.weight, sparse.bias)))
    norm = layer.NeuNorm(2, 3, 3)
    norm.k0 = 0.5
    assert norm.k0 == 0.5


@pytest.mark.parametrize("value", ["torch", "cupy", "triton"])
def test_backends_are_taken_and_told(value):
    net = nn.Sequential(nn.Linear(3, 4), neuron.LIFNode(step_mode="m", backend=value))
    assert net[1].backend == value
    functional.set_backend(net, "cupy", neuron.LIFNode)
    assert net[1].backend == "cupy" and 'backend="cupy" is accepted' in str(ranvier.explain(net, torch.rand(4, 2, 3)))
    with pytest.raises(ValueError, match="backend must be one of"):
        net[1].backend = "fpga"
    assert neuron.IFNode(1.0, 0.0, surrogate.ATan(), False, "m", "cupy").backend == "cupy"  # its earlier place
    with pytest.raises(TypeError, match="store_v_seq must be True or False"):
        neuron.IFNode(1.0, 0.0, surrogate.ATan(), False, "m", 3)


class Own(neuron.BaseNode):
    def neuronal_charge(self, x):
        self.v = self.v + (x - self.v) / 2.0


class Stretched(neuron.LIFNode):
    def neuronal_charge(self, x):
        super().neuronal_charge(2.0 * x)


class Stepping(neuron.LIFNode):
    def single_step_forward(self, x):
        return super().single_step_forward(2.0 * x)


def test_subclasses_run():
    with ranvier.backend("reference"):
        for found, wanted in zip(run(Own()), run(neuron.LIFNode()), strict=True):
            torch.testing.assert_close(found, wanted)
        x = 2 * torch.rand(6, 3, 4)
        wanted = neuron.LIFNode(step_mode="m")(2.0 * x)
        assert torch.equal(Stretched(step_mode="m")(x), wanted)
        assert torch.equal(Stepping(step_mode="m")(x), wanted)
        net = nn.Sequential(Own(step_mode="m"), Stretched(step_mode="m"))
        net[0].store_v_seq = True
        net(x)
        assert net[0].v_seq.shape == x.shape and torch.equal(net[0].v_seq[-1], net[0].v)
        assert "torch operations" in str(ranvier.explain(Stretched(step_mode="m"), x))


def test_an_override_that_would_never_run_is_refused():
    with pytest.raises(TypeError, match="would never call"):
        type("Bad", (neuron.IzhikevichNode,), {"neuronal_charge": lambda self, x: None})


class Remembering(base.MemoryModule):
    def __init__(self):
        super().__init__()
        self.register_memory("sum", 0.0)

    def single_step_forward(self, x):
        self.sum = self.sum + x
        return self.sum


def test_modules_with_a_memory_of_their_own():
    net = Remembering()
    functional.set_step_mode(net, "m")
    assert torch.equal(net(torch.ones(3, 2))[-1], torch.full((2,), 3.0)) and net.state_dict() == {}
    functional.reset_net(net)
    assert net.sum == 0.0


class Rectangle(surrogate.SurrogateFunctionBase):
    def __init__(self, alpha=1.0, spiking=True):
        super().__init__(alpha, spiking)

    @staticmethod
    def spiking_function(x, alpha):
        return surrogate.rect.apply(x, alpha)

    @staticmethod
    def primitive_function(x, alpha):
        return (alpha * x + 0.5).clamp(0.0, 1.0)


@pytest.mark.parametrize(
    "smooth", [Rectangle(2.0), surrogate.ATan(spiking=False), torch.sigmoid], ids=["own", "ATan", "torch"]
)
def test_any_function_fires(smooth):
    with ranvier.backend("reference"):
        spikes, gradient = run(neuron.LIFNode(surrogate_function=smooth))
        other, wanted = run(Own(surrogate_function=smooth))
    torch.testing.assert_close(spikes, other)
    torch.testing.assert_close(gradient, wanted)
    if isinstance(smooth, Rectangle):
        torch.testing.assert_close(gradient, run(neuron.LIFNode(surrogate_function=surrogate.Rect(2.0)))[1])
    with pytest.raises(TypeError, match="surrogate_function must be one of"):
        run(neuron.IzhikevichNode(surrogate_function=torch.sigmoid))


def test_parameters_have_the_published_names():
    net = nn.Sequential(nn.Linear(3, 4), neuron.ParametricLIFNode(step_mode="m"), neuron.KLIFNode(step_mode="m"))
    assert [k for k, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.w", "2.k"] == list(net.state_dict())
    net = nn.Sequential(nn.Identity(), *net[1:])
    nn.init.constant_(net[2].k, 3.0)
    x = 3 * torch.rand(5, 2, 3)
    y = torch.func.functional_call(net, {**net.state_dict(), "1.w": torch.tensor(3.0)}, x)
    functional.reset_net(net)
    plain = net(x)
    functional.reset_net(net)
    with torch.no_grad():
        net[1].w.fill_(3.0)
    assert torch.equal(net(x), y) and not torch.equal(y, plain)


def test_a_second_backward_names_the_cure():
    net = nn.Sequential(nn.Linear(3, 4), neuron.LIFNode(step_mode="m"))
    x = torch.rand(5, 2, 3)
    net(x).sum().backward()
    with pytest.raises(RuntimeError, match=r"reset_net.*detach_net"):
        net(x).sum().backward()
    functional.reset_net(net)
    net(x).sum().backward(retain_graph=True)
    net(x).sum().backward()  # through both
    functional.detach_net(net)
    net(x).sum().backward()
    net[1].v.detach_()
    net(x).sum().backward()


def test_a_network_is_copied_after_a_forward_pass():
    net = nn.Sequential(nn.Linear(3, 4), neuron.ParametricLIFNode(step_mode="m"))
    x = torch.rand(5, 2, 3)
    net(x)
    other = copy.deepcopy(net)
    assert torch.equal(other[1].v, net[1].v) and not other[1].v.requires_grad and other[1].w is not net[1].w
    assert torch.equal(other(x), net(x))


def test_membranes_of_a_sequence():
    with ranvier.backend("reference"):
        x = 3 * torch.rand(6, 2, 4)
        node = sequences.MultiStepLIFNode(backend="cupy")
        y = node(x)
        other = neuron.LIFNode(step_mode="m", store_v_seq=True)
        assert torch.equal(y, other(x)) and y is node.spike_seq
        assert torch.equal(node.v_seq, other.v_seq) and torch.equal(node.v, other.v)


def test_a_tau_for_each_neuron_that_learns():
    tau = torch.tensor([2.0, 3.0, 5.0], requires_grad=True)
    node = neuron.LIFNode(tau=tau, step_mode="m")
    node(3 * torch.rand(6, 2, 3)).sum().backward()
    assert bool((tau.grad != 0).all())
    with pytest.raises(ValueError, match="tau must be above 1"):
        neuron.LIFNode(tau=torch.tensor([0.5, 2.0]))


def test_monitors():
    net = nn.Sequential(nn.Linear(3, 4), neuron.IFNode(step_mode="m"), neuron.LIFNode(step_mode="m"))
    spikes = monitor.OutputMonitor(net, neuron.BaseNode)
    membrane = monitor.AttributeMonitor("v", False, net, neuron.BaseNode)
    gradient = monitor.GradOutputMonitor(net, neuron.IFNode)
    y = net(3 * torch.rand(5, 2, 3))
    y.sum().backward()
    assert spikes.monitored_layers == ["1", "2"] and torch.equal(spikes["2"][0], y) and torch.equal(spikes[1], y)
    assert torch.equal(membrane["1"][0], net[1].v) and gradient[0].shape == y.shape
    spikes.disable()
    net(torch.rand(5, 2, 3))
    assert len(spikes.records) == 2 and not spikes.is_enable()
    spikes.clear_recorded_data()
    assert spikes["1"] == []
    count = monitor.Monitor(net)
    count.enable()
    functional.reset_net(net)
    y = net(3 * torch.rand(5, 2, 3))
    torch.testing.assert_close(count.get_avg_firing_rate(False, "2"), y.mean().detach())
    torch.testing.assert_close(count.get_nonfire_ratio(False, "2"), (y.sum((0, 1)) == 0).float().mean())


@pytest.mark.parametrize("make", [rnn.SpikingVanillaRNN, rnn.SpikingGRU, rnn.SpikingLSTM])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_cells(make, both):
    net, x = make(3, 4, 2, bidirectional=both), torch.randn(5, 2, 3)
    y, last = net(x)
    first = last[0] if make is rnn.SpikingLSTM else last
    assert y.shape == (5, 2, 8 if both else 4) and first.shape == (4 if both else 2, 2, 4)
    assert set(y.unique().tolist()) <= {0.0, 1.0} and torch.equal(first[1], y[-1, :, :4])
    half, state = net(x[:2])
    if not both:
        assert torch.equal(torch.cat([half, net(x[2:], state)[0]]), y)
    y.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_converted_network_is_reset_like_the_others():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    x = torch.rand(20, 3)
    snn = ann2snn.Converter([(x, None)], mode="99.9%")(ann)
    first = torch.stack([snn(x) for _ in range(60)])
    functional.reset_net(snn)
    assert torch.equal(torch.stack([snn(x) for _ in range(60)]), first)
    assert (first.mean(0) - ann(x)).abs().max() < 0.1


@pytest.mark.parametrize(
    "make", [lambda: surrogate.ATan(learnable=True), lambda: layer.Dropout(0.5, dropout_spikes=True)]
)
def test_old_arguments_that_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_set_monitor_of_early_releases():
    node = neuron.LIFNode()
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), node)
    functional.set_monitor(net, True)
    spikes = [net(torch.ones(1, 2) * k) for k in range(4)]
    assert len(node.monitor["v"]) == 4 and (node.monitor["s"][3] == spikes[3].detach().numpy()).all()
    assert (node.monitor["v"][3] == node.v.detach().numpy()).all()
    functional.set_monitor(net, False)
    net(torch.ones(1, 2))
    assert node.monitor is False
    functional.set_step_mode(net, "m")
    functional.reset_net(net)
    functional.set_monitor(net, True)
    with pytest.raises(ValueError, match="OutputMonitor"):
        node(torch.ones(2, 1, 3))

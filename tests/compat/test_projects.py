"""Public projects written for SpikingJelly: what each imports, constructs and does with it, in our own words.

MOVES says how each moves: 0 by its imports alone, else how many other lines change. A project whose neurons are CUDA
code of its own does not move (None). READ are those that were not run, only read. `docs/moving.md` counts them.
"""

import importlib
from pathlib import Path

import pytest
import torch
from torch import nn

from ranvier.compat.spikingjelly import clock_driven
from ranvier.compat.spikingjelly.activation_based import functional, layer, neuron, surrogate

ROOT, ROOT_DIR = "ranvier.compat.spikingjelly", Path(__file__).parents[2]
CUPY = {"tau": 2.0, "detach_reset": True, "backend": "cupy"}
TRANSFORMER = [
    ("clock_driven.neuron.MultiStepLIFNode", (), CUPY),
    ("clock_driven.neuron.MultiStepLIFNode", (), {**CUPY, "v_threshold": 0.5}),
]
PARAMETRIC = (
    "clock_driven.neuron.MultiStepParametricLIFNode",
    (),
    {"init_tau": 2.0, "detach_reset": True, "backend": "cupy"},
)
ATAN = surrogate.ATan(alpha=2.0, spiking=True)
SHARED = {"surrogate_function": ATAN, "detach_reset": True}
WHOLE = {"v_reset": 0.0, **SHARED, "step_mode": "m", "backend": "cupy", "store_v_seq": False}
CALLS = {  # what they construct
    "ZK-Zhou/spikformer": TRANSFORMER,
    "HGYou/XOR-Spikformer": TRANSFORMER,
    "zhouchenlin2096/Spikingformer": TRANSFORMER,
    "zhouchenlin2096/QKFormer": [*TRANSFORMER, PARAMETRIC],
    "BICLab/Spike-Driven-Transformer": [*TRANSFORMER, PARAMETRIC],
    "BICLab/Spike-Driven-Transformer-V2": [*TRANSFORMER, PARAMETRIC],
    "ridgerchu/SpikeGPT": [
        ("clock_driven.neuron.MultiStepLIFNode", (),
         {"tau": 2.0, "surrogate_function": ATAN, "backend": "cupy", "v_threshold": 1}),
    ],
    "fangwei123456/Spike-Element-Wise-ResNet": [
        ("cext.neuron.MultiStepParametricLIFNode", (), {"init_tau": 2.0, "detach_reset": True}),
        ("cext.neuron.MultiStepIFNode", (), {"detach_reset": True}),
        ("clock_driven.layer.SeqToANNContainer", (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), {}),
    ],
    "fangwei123456/Parametric-Leaky-Integrate-and-Fire-Spiking-Neuron": [
        ("clock_driven.neuron.LIFNode", (), {"tau": 2.0, **SHARED}), ("clock_driven.layer.Dropout", (0.5,), {}),
    ],
    "fangwei123456/Parallel-Spiking-Neuron": [
        ("activation_based.layer.Conv2d", (3, 4), {"kernel_size": 3, "padding": 1, "bias": False}),
        ("activation_based.layer.AvgPool2d", (2, 2), {}), ("activation_based.layer.Linear", (8, 10), {}),
    ],
    "xyshi2000/SpikingResformer": [
        ("activation_based.neuron.IFNode", (), {"v_threshold": 1.0, **WHOLE}),
        ("activation_based.neuron.LIFNode", (), {"tau": 2.0, "decay_input": True, "v_threshold": 1.0, **WHOLE}),
        ("activation_based.neuron.ParametricLIFNode", (), {"init_tau": 2.0, "decay_input": True, **WHOLE}),
        ("activation_based.layer.AdaptiveAvgPool2d", ((1, 1),), {"step_mode": "m"}),
        ("activation_based.layer.Conv2d", (3, 4, 7, 2, 3), {"bias": False, "step_mode": "m"}),
    ],
    "Barchid/spikingjelly-lightning": [
        (f"clock_driven.neuron.MultiStep{kind}Node", (), SHARED) for kind in ("ParametricLIF", "IF", "LIF")
    ],
    "qymeng94/SLTT": [
        ("clock_driven.layer.Dropout", (0.1,), {}), ("clock_driven.surrogate.PiecewiseQuadratic", (), {}),
    ],
    "HuuYuLong/Complementary-LIF": [("clock_driven.surrogate.SurrogateFunctionBase", (1.0, True), {})],
    "loiccordone/object-detection-with-spiking-neural-networks": [
        ("clock_driven.neuron.MultiStepParametricLIFNode", (),
         {"init_tau": 2.0, "v_threshold": 1.0, **SHARED, "backend": "torch"}),
        ("clock_driven.layer.SeqToANNContainer", (nn.ConstantPad2d(1, 0.0), nn.BatchNorm2d(3)), {}),
    ],
    "urancon/StereoSpike": [
        ("clock_driven.neuron.LIFNode", (), {"tau": 10.0, "v_threshold": 1.0, "v_reset": 0.0, **SHARED}),
        ("cext.neuron.MultiStepLIFNode", (), {"tau": 10.0, "v_threshold": 1.0, "v_reset": 0.0, "detach_reset": True}),
    ],
    "LiZheng1997/spikingjelly-demos": [
        ("activation_based.neuron.LIFNode", (), {"tau": 2.0, "surrogate_function": ATAN}),
        ("activation_based.encoding.PoissonEncoder", (), {}), ("activation_based.layer.Flatten", (), {}),
    ],
    "AllenYolk/dendritic-spiking-neuron": [("activation_based.neuron.LIFNode", (), {})],
    "microsoft/SeqSNN": [
        ("activation_based.neuron.LIFNode", (), {"tau": 2.0, "step_mode": "m", **SHARED, "backend": "torch"}),
    ],
    "Mars-Mah3r/Real-time-SpikingJelly-SNN": [
        ("activation_based.layer.VotingLayer", (10,), {}), ("activation_based.neuron.IFNode", (), SHARED),
    ],
    "alexandercantrell/Spiking-RepVGG": [
        ("activation_based.neuron.ParametricLIFNode", (), {"v_threshold": 1.0, **SHARED, "backend": "torch"}),
        ("activation_based.layer.Conv2d", (), 
         {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "step_mode": "m"}),
    ],
    "JackieWang9811/Spiking-Transformer-Speech-baseline": [
        ("activation_based.neuron.LIFNode", (),
         {"tau": 2.0, **SHARED, "step_mode": "m", "decay_input": False, "store_v_seq": True, "backend": "torch"}),
        ("activation_based.layer.BatchNorm1d", (4,), {"step_mode": "m"}),
        ("activation_based.layer.Dropout", (0.1,), {"step_mode": "m"}),
    ],
    "CheKaiWei/Auto-spikformer": [("activation_based.neuron.LIFNode", (), {"tau": 2.0, "detach_reset": True})],
    "danielkim717/Spiking-Biformer": [
        ("activation_based.neuron.LIFNode", (), {"v_threshold": 1.0, "v_reset": 0.0, **SHARED}),
    ],
}  # fmt: skip
MOVES: dict[str, int | None] = {
    **dict.fromkeys(CALLS, 0),
    "fangwei123456/Parametric-Leaky-Integrate-and-Fire-Spiking-Neuron": 7,  # arguments of the first releases
    "Mars-Mah3r/Real-time-SpikingJelly-SNN": 1,  # trains a net of SpikingJelly's own `model` package
    "alexandercantrell/Spiking-RepVGG": 2,  # `import neuron_kernel`: CUDA code for one backend, in two files
    "urancon/StereoSpike": None,
}
READ = {
    "JackieWang9811/Spiking-Transformer-Speech-baseline", "CheKaiWei/Auto-spikformer", "urancon/StereoSpike",
}  # fmt: skip


def published(name: str):
    module, _, leaf = name.rpartition(".")
    return getattr(importlib.import_module(f"{ROOT}.{module}"), leaf)


@pytest.mark.parametrize("project", CALLS)
def test_what_a_project_constructs(project):
    for name, args, kwargs in CALLS[project]:
        made = published(name)(*args, **kwargs)
        if "neuron" in name:
            x = 2 * torch.rand(4, 2, 3, requires_grad=True)
            functional.set_step_mode(made, "m")
            y = made(x)
            y += 1.0  # residual nets add in place
            y.sum().backward()
            functional.reset_net(made)


def test_the_page_says_the_count():
    page = (ROOT_DIR / "docs" / "moving.md").read_text()
    ran = [moves for project, moves in MOVES.items() if project not in READ]
    alone, more = ran.count(0), [moves for moves in ran if moves]
    assert f"Of {len(MOVES)} public projects, {len(ran)} were run on Ranvier: {alone} by their imports alone" in page
    assert f"alone, {len(more)} with a few more lines" in page
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `") and "/" in line}
    for project, moves in MOVES.items():
        assert ("| not run" in rows[project]) == (project in READ)
        told = {0: "imports alone", None: "does not move"}.get(moves, f"{moves} more line")
        assert told in rows[project]
    claim = f"of {len(MOVES)} public projects on SpikingJelly, {len(ran)} were run: {alone} need no other change, "
    assert claim + f"{len(more)} need {min(more)} to {max(more)} lines" in (ROOT_DIR / "README.md").read_text()


class DetachedLeak(clock_driven.neuron.LIFNode):  # qymeng94/SLTT
    def __init__(self, tau=2.0, decay_input=False, v_threshold=1.0, v_reset=None, surrogate_function=None,
                 detach_reset=False, cupy_fp32_inference=False, **kwargs):  # fmt: skip
        super().__init__(tau, decay_input, v_threshold, v_reset, surrogate_function, detach_reset, cupy_fp32_inference)

    def neuronal_charge(self, x):
        self.v = x if type(self.v) is float else self.v.detach() * (1 - 1.0 / self.tau) + x


def test_a_node_whose_charge_is_replaced():
    node, x = DetachedLeak(surrogate_function=surrogate.PiecewiseQuadratic()), torch.rand(3, 2, requires_grad=True)
    v, spikes = torch.zeros(2), []
    for x_t in x:
        v = v.detach() * 0.5 + x_t
        spikes.append(surrogate.PiecewiseQuadratic()(v - 1.0))
        v = v - spikes[-1]
    wanted = torch.autograd.grad(torch.stack(spikes).sum(), x)[0]
    found = torch.stack([node(x_t) for x_t in x])
    assert torch.equal(found, torch.stack(spikes))
    assert torch.equal(torch.autograd.grad(found.sum(), x)[0], wanted)


class Rectangle(clock_driven.surrogate.SurrogateFunctionBase):  # HuuYuLong/Complementary-LIF
    def __init__(self, alpha=1.0, spiking=True):
        super().__init__(alpha, spiking)

    @staticmethod
    def spiking_function(x, alpha):
        inside = (x.abs() <= alpha / 2) / alpha
        return clock_driven.surrogate.heaviside(x) + (x - x.detach()) * inside


class Complementary(clock_driven.neuron.LIFNode):
    def __init__(self, tau=2.0, decay_input=False, v_threshold=1.0, v_reset=None, surrogate_function=Rectangle(),  # noqa: B008
                 detach_reset=False, cupy_fp32_inference=False, **kwargs):  # fmt: skip
        super().__init__(tau, decay_input, v_threshold, v_reset, surrogate_function, detach_reset, cupy_fp32_inference)
        self.register_memory("c", 0.0)

    def forward(self, x):
        self.neuronal_charge(x)
        self.c = self.c * torch.sigmoid(self.v / self.tau)
        spike = self.neuronal_fire()
        self.c += spike
        self.neuronal_reset(spike)
        self.v = self.v - spike * torch.sigmoid(self.c)
        return spike

    def neuronal_charge(self, x):
        self.v = x if type(self.v) is float else self.v * (1 - 1.0 / self.tau) + x

    def neuronal_reset(self, spike):
        self.v = self.v - spike * self.v_threshold


def test_a_node_whose_forward_is_replaced_equals_ours_of_that_name():
    x = 2 * torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0))
    own, ours = Complementary(), neuron.ComplementaryLIFNode(step_mode="m")
    found = torch.stack([own(x_t) for x_t in x])
    assert found.sum() > 0 and torch.equal(found, ours(x))


class Joined(neuron.BaseNode):  # alexandercantrell/Spiking-RepVGG
    def __init__(self, init_tau=2.0, v_threshold=1.0, v_reset=0.0, surrogate_function=ATAN, detach_reset=False,
                 step_mode="s", backend="torch", store_v_seq=False):  # fmt: skip
        super().__init__(v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        self.w = nn.Parameter(torch.as_tensor(0.0))

    @property
    def supported_backends(self):
        return ("torch",)

    def neuronal_charge(self, x, y):
        self.v = self.v + (x - self.v) * self.w.sigmoid() + y * self.v_threshold

    def single_step_forward(self, x, y):
        self.v_float_to_tensor(x)
        self.neuronal_charge(x, y)
        spike = self.neuronal_fire()
        self.neuronal_reset(spike)
        return spike

    def multi_step_forward(self, x_seq, y_seq):
        return torch.stack([self.single_step_forward(x, y) for x, y in zip(x_seq, y_seq, strict=True)])


def test_a_node_of_two_inputs():
    node = Joined(step_mode="m", v_threshold=torch.ones(3))
    spikes = node(torch.rand(4, 2, 3), torch.ones(4, 2, 3))
    spikes.sum().backward()
    assert spikes.eq(1).all() and node.w.grad is not None


def test_a_soma_driven_by_hand():  # AllenYolk/dendritic-spiking-neuron
    soma = neuron.LIFNode()
    assert isinstance(soma.v, float)
    soma.v = torch.full((2, 3), soma.v)
    soma.v_float_to_tensor(torch.rand(2, 3))
    spike = soma.single_step_forward(torch.full((2, 3), 3.0))
    assert spike.eq(1).all() and soma.v.eq(0).all()


def test_states_are_read_swapped_and_cut():  # urancon/StereoSpike
    net = nn.Sequential(clock_driven.neuron.LIFNode(), clock_driven.layer.Dropout(0.5), neuron.IFNode())
    x = torch.rand(2, 3, requires_grad=True)
    net(x)
    states = [m.v for m in net if hasattr(m, "v")]
    for module in net:
        if isinstance(module, neuron.BaseNode):
            module.v.detach_()
        else:
            module.mask.detach_()
    net[2].v = torch.zeros(2, 3)
    assert len(states) == 2 and not net[0].v.requires_grad


def test_hooks_record_membranes():  # LiZheng1997/spikingjelly-demos
    node = layer.Linear(2, 3), neuron.LIFNode()
    node[1].v_seq = []
    node[1].register_forward_hook(lambda m, x, y: m.v_seq.append(m.v.unsqueeze(0)))
    net = nn.Sequential(*node)
    total = 0.0
    for _ in range(4):
        total += net(torch.rand(5, 2))
    assert torch.cat(node[1].v_seq).shape == (4, 5, 3)


class Everywhere(neuron.LIFNode):  # xyshi2000/SpikingResformer
    def __init__(self):
        super().__init__(tau=2.0, decay_input=True, v_threshold=1.0, v_reset=0.0, surrogate_function=ATAN,
                         detach_reset=True, step_mode="m", backend="cupy", store_v_seq=False)  # fmt: skip


def test_a_subclass_that_only_sets_arguments_is_fused():
    x = torch.rand(4, 2, 3)
    plain = neuron.LIFNode(surrogate_function=ATAN, detach_reset=True, step_mode="m")
    assert torch.equal(Everywhere()(x), plain(x)) and not Everywhere().hand


def test_nets_that_switch_step_modes():  # Mars-Mah3r/Real-time-SpikingJelly-SNN
    net = nn.Sequential(layer.Conv2d(2, 4, 3, padding=1, bias=False), layer.BatchNorm2d(4), neuron.IFNode(**SHARED),
                        layer.MaxPool2d(2, 2), layer.Flatten(), layer.Dropout(0.5), layer.Linear(16, 20),
                        neuron.IFNode(**SHARED), layer.VotingLayer(10))  # fmt: skip
    assert net(torch.rand(2, 2, 4, 4)).shape == (2, 2)
    functional.reset_net(net)
    functional.set_step_mode(net, "m")
    functional.set_backend(net, "cupy", instance=neuron.LIFNode)
    assert net(torch.rand(3, 2, 2, 4, 4)).shape == (3, 2, 2)

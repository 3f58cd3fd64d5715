"""What users write every day: clean under strict type checkers, and it runs."""

from typing import Literal

import torch
from torch import Tensor, nn

import ranvier as rv
from ranvier.ops import exp, spike


class Bursting(rv.Neuron):
    beta: rv.Param = rv.Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    jump: rv.Param = rv.Param(0.3)
    v = rv.State(0.0)
    a = rv.State(0.0)
    dt: rv.Option[float] = rv.Option(1.0, number=True)
    learn: rv.Learn[Literal["beta", "jump"]] = rv.Learn()

    @staticmethod
    def rule(x: Tensor, v: Tensor, a: Tensor, beta: Tensor, jump: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        v = beta * v + x - a
        z = spike(v - 1.0)
        return z, (v - z, a * exp(-a) + jump * z)


lif = rv.LIF(beta=0.9, threshold=1.0, reset="zero", surrogate=rv.surrogate.atan(2.0), learn=("beta",), shape=(4,))
slow = rv.nn.LIF(tau=20e-3, dt=1e-3, detach_reset=True, learn="tau")
own = Bursting(beta=0.8, learn=["beta", "jump"])
beta: Tensor = lif.beta
tau: Tensor = slow.tau
dt: float = slow.dt
jump: Tensor = own.jump
learned: tuple[str, ...] = lif.learn
lif.beta = 0.8
slow.dt = 2e-3
lif.surrogate = rv.surrogate.superspike(25.0)
net = rv.Sequential(rv.Linear(3, 4), lif, rv.Recurrent(rv.ALIF(learn=("kappa",)), 4), nn.Linear(4, 2), rv.LI(beta=0.95))
deep = rv.Sequential(rv.Conv2d(1, 2, 3), nn.BatchNorm2d(2), rv.neurons.RestLIF(tau=2.0), nn.Flatten(), rv.Dropout(0.1))
synapse = rv.nn.layers.Lowpass(5e-3, learn="tau")
resonator = rv.ResonateAndFire(b=-0.1, omega=0.5, learn=("damping",))
timed = rv.TimedLIF(tau_mem=10e-3, gradient="surrogate")
adex = rv.AdEx(tau_mem=10e-3, refractory=True, method="exponential")
x = torch.rand(5, 2, 3)
with rv.backend("reference"):
    y: Tensor = net(x)
    y, state = rv.scan(net, x)
    y_t, state = rv.step(net, x[0], rv.detach(state))
    stream = rv.Stream(net)
    y_t = stream(x[0])
    traces: dict[str, Tensor] = rv.record(net, x, "v")
    picture = deep(torch.rand(2, 1, 1, 5, 5))
    bursts = own(x)
labels = torch.tensor([0, 1])
loss: Tensor = rv.loss.integral_crossentropy()(y, labels)
loss.backward()  # type: ignore[no-untyped-call]  # torch's own, under mypy --strict
optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
optimiser.step()  # pyright: ignore[reportUnknownMemberType]  # torch's own
accuracy, predictions = rv.metric.integral_accuracy()(y, labels)
spikes = rv.data.rate(torch.rand(2, 3), 5)
decay: float = rv.decay(20e-3, 1e-3)
ax = rv.plot.raster(spikes[:, 0])
print(rv.explain(net, x), rv.plasticity.Trace, rv.recipes.Recipe, rv.__version__)

"""One sample through 784 -> 400 LIF with pair STDP in another library: `python stdp_peers.py NAME T B REPEATS`.

Prints JSON: seconds per sample, and for SpikingJelly the change of weights to compare. Runs in the peer's environment.
"""

import json
import statistics
import sys
import time
import types
from importlib.util import find_spec
from pathlib import Path

import torch

INPUTS, NEURONS = 784, 400


def given(steps: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same spikes [T, B, I] and weights [N, I] everywhere."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(steps, batch, INPUTS, generator=generator) < 0.05).float()
    return x, torch.rand(NEURONS, INPUTS, generator=generator) * 0.1


def spikingjelly(steps: int, batch: int, repeats: int) -> dict:
    # its monitor wants TensorBoard, which nothing here uses
    sys.modules["torch.utils.tensorboard"] = types.SimpleNamespace(SummaryWriter=None)  # type: ignore[assignment]
    from spikingjelly.activation_based import functional, layer, learning, neuron

    x, w = given(steps, batch)
    synapse = layer.Linear(INPUTS, NEURONS, bias=False, step_mode="m")
    synapse.weight.data.copy_(w)
    lif = neuron.LIFNode(tau=20.0, step_mode="m")
    learner = learning.STDPLearner("m", synapse, lif, 20.0, 20.0, f_pre=lambda w: 1.0, f_post=lambda w: 1.0)
    change = torch.zeros_like(w)

    def run() -> None:
        with torch.no_grad():
            lif(synapse(x))
            change.copy_(learner.step(on_grad=False))
            functional.reset_net(lif)
            learner.reset()

    return {"seconds": timed(run, repeats) / batch, "change": change.flatten()[::97].tolist()}


def bindsnet(steps: int, batch: int, repeats: int) -> dict:
    # its package imports every data set and game at once; the parts used here need none of them
    spec = find_spec("bindsnet")
    package = types.ModuleType("bindsnet")
    package.__path__ = [str(Path(spec.origin).parent)]  # type: ignore[union-attr,arg-type]
    sys.modules["bindsnet"] = package
    from bindsnet.network import Network  # isort: skip  # first: the package imports itself in a circle
    from bindsnet.learning import PostPre
    from bindsnet.network.nodes import Input, LIFNodes
    from bindsnet.network.topology import Connection

    x, w = given(steps, batch)
    net = Network(dt=1.0, batch_size=batch)
    source, target = Input(n=INPUTS, traces=True), LIFNodes(n=NEURONS, traces=True)
    net.add_layer(source, "X")
    net.add_layer(target, "Y")
    net.add_connection(Connection(source, target, w=w.T.clone(), update_rule=PostPre, nu=(1e-4, 1e-2)), "X", "Y")

    def run() -> None:
        net.run(inputs={"X": x.bool()}, time=steps)
        net.reset_state_variables()

    return {"seconds": timed(run, repeats) / batch}


def timed(run, repeats: int) -> float:
    """CPU seconds of one run on one thread, after a first one: a busy machine does not count."""
    times = []
    for k in range(repeats + 1):
        start = time.process_time()
        run()
        if k:
            times.append(time.process_time() - start)
    return statistics.median(times)


if __name__ == "__main__":
    name, steps, batch, repeats = sys.argv[1], *map(int, sys.argv[2:])
    torch.set_num_threads(1)
    print(json.dumps({"spikingjelly": spikingjelly, "bindsnet": bindsnet}[name](steps, batch, repeats)))

"""A NIR graph in another library: run it there, or write one there. Run with that library's Python:

nir_peer.py LIBRARY read FILE.nir X.npy Y.npy, or nir_peer.py LIBRARY write FILE.nir X.npy Y.npy KIND
"""

import sys

import nir
import numpy as np


def stepped(net, x, state=None):
    """Step by step, through a net that takes a state and gives one."""
    import torch

    rows = []
    with torch.no_grad():
        for x_t in x:
            y, state = net(x_t, state)
            rows.append(y)
    return torch.stack(rows)


def snntorch_read(graph, x):
    from snntorch.import_nir import import_from_nir

    return stepped(import_from_nir(graph), x)


def norse_read(graph, x):
    import norse.torch as norse

    return stepped(norse.from_nir(graph, dt=1e-3), x)


def spikingjelly_read(graph, x):
    import torch
    from spikingjelly.activation_based import nir_exchange

    net = nir_exchange.import_from_nir(graph, dt=1e-4)
    with torch.no_grad():
        return stepped(net, x)


def sinabs_read(graph, x):
    import sinabs.nir
    import torch

    net = sinabs.nir.from_nir(graph, batch_size=x.shape[1])
    with torch.no_grad():
        y = net(x.transpose(0, 1).flatten(0, 1))
    y = y[0] if isinstance(y, tuple) else y
    return y.unflatten(0, (x.shape[1], x.shape[0])).transpose(0, 1)


def spyx_read(graph, x):
    import jax.numpy as jnp
    import spyx.nir

    return spyx.nir.from_nir(graph, jnp.asarray(x), dt=1e-4)[1]


def snntorch_write(x):
    import snntorch as snn
    from snntorch.export_nir import export_to_nir

    neuron = snn.Leaky(
        beta=torch_of([0.9] * 8),
        threshold=torch_of([1.0] * 8),
        reset_mechanism="zero",
        reset_delay=False,
        init_hidden=True,
    )
    net = layers(neuron)
    y = unrolled(net, x)
    return export_to_nir(net, x[0], ignore_dims=[0]), y


def norse_write(x):
    import norse.torch as norse

    net = norse.SequentialState(
        *layers(
            norse.LIFBoxCell(
                norse.LIFBoxParameters(
                    tau_mem_inv=torch_of([100.0] * 8), v_th=torch_of([0.5] * 8), v_leak=torch_of([0.0] * 8)
                )
            )
        )
    )
    return norse.to_nir(net, x[0]), stepped(net, x)


def spikingjelly_write(x):
    from spikingjelly.activation_based import functional, neuron, nir_exchange

    net = layers(neuron.LIFNode(tau=2.0, v_reset=0.0, v_threshold=0.5))
    graph = nir_exchange.export_to_nir(net, x[0], dt=1e-4)
    functional.reset_net(net)
    return graph, unrolled(net, x)


def sinabs_write(x):
    import sinabs.layers as sl
    import sinabs.nir
    import torch

    net = layers(sl.LIFSqueeze(tau_mem=torch_of([10.0] * 8), batch_size=x.shape[1], norm_input=True,
                               spike_threshold=torch_of([0.5] * 8), spike_fn=sinabs.activation.SingleSpike,
                               reset_fn=sinabs.activation.MembraneReset()))  # fmt: skip
    flat = x.transpose(0, 1).flatten(0, 1)
    with torch.no_grad():
        y = net(flat)
    return sinabs.nir.to_nir(net, flat), y.unflatten(0, (x.shape[1], x.shape[0])).transpose(0, 1)


def spyx_write(x):
    import jax.numpy as jnp
    import spyx
    from flax import nnx
    from spyx import nir as exchange

    rngs = nnx.Rngs(0)
    first, last = nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
    net = spyx.nn.Sequential(first, spyx.nn.LIF((8,), beta=0.9, rngs=rngs), last)
    y, _ = spyx.nn.run(net, jnp.asarray(x))
    return exchange.to_nir(net, {"input": np.array([6])}, {"output": np.array([3])}, dt=1e-4), y


def torch_of(numbers):
    import torch

    return torch.tensor(numbers)


def layers(neuron):
    from torch import manual_seed, nn

    manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), neuron, nn.Linear(8, 3))
    net[0].weight.data.abs_()
    return net


def unrolled(net, x):
    import torch

    with torch.no_grad():
        return torch.stack([net(x_t) for x_t in x])


READ = {"snntorch": snntorch_read, "norse": norse_read, "spikingjelly": spikingjelly_read, "sinabs": sinabs_read,
        "spyx": spyx_read}  # fmt: skip
WRITE = {"snntorch": snntorch_write, "norse": norse_write, "spikingjelly": spikingjelly_write,
         "sinabs": sinabs_write, "spyx": spyx_write}  # fmt: skip

if __name__ == "__main__":
    library, verb, file, x, y, *rest = sys.argv[1:]
    x = np.load(x)
    if library != "spyx":
        import torch

        x = torch.from_numpy(x)
    if verb == "read":
        np.save(y, np.asarray(READ[library](nir.read(file), x)))
    else:
        graph, found = WRITE[library](x)
        nir.write(file, graph)
        np.save(y, np.asarray(found))

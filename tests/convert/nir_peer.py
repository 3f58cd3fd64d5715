"""A NIR graph in another library: run it there, or write one there. Run with that library's Python:

nir_peer.py LIBRARY read FILE.nir X.npy Y.npy, or nir_peer.py LIBRARY write FILE.nir X.npy Y.npy KIND
"""

import copy
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


def by_sample(graph, x, build):
    """Where a Flatten of the file would flatten the axis of samples too, each sample goes alone, without that axis."""
    import torch

    if any(isinstance(node, nir.Flatten) for node in graph.nodes.values()):
        return torch.stack([stepped(build(), one) for one in x.unbind(1)], 1)
    return stepped(build(), x)


def snntorch_read(graph, x):
    from snntorch.import_nir import import_from_nir

    return by_sample(graph, x, lambda: import_from_nir(copy.deepcopy(graph)))


def norse_read(graph, x):
    import norse.torch as norse

    return by_sample(graph, x, lambda: norse.from_nir(graph, dt=1e-3))


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
    if any(isinstance(node, nir.NIRGraph) for node in graph.nodes.values()):  # what returns, arrives a call later
        return stepped(net, x)
    with torch.no_grad():
        y = net(x.transpose(0, 1).flatten(0, 1))
    y = y[0] if isinstance(y, tuple) else y
    return y.unflatten(0, (x.shape[1], x.shape[0])).transpose(0, 1)


def spyx_read(graph, x):
    import jax.numpy as jnp
    import spyx.nir

    x = x.transpose(0, 1, 3, 4, 2) if x.ndim == 5 else x  # there channels come last
    return spyx.nir.from_nir(graph, jnp.asarray(x), dt=1e-4)[1]


def snntorch_write(x, kind):
    import snntorch as snn
    import torch
    from snntorch.export_nir import export_to_nir

    made = dict(reset_mechanism="zero", reset_delay=False, init_hidden=True)
    if kind == "recurrent":
        neuron = snn.RLeaky(beta=torch_of([0.9] * 8), threshold=1.0, linear_features=8, **made)
    else:
        shape = (3, 4, 4) if kind == "convolutional" else (8,)
        neuron = snn.Leaky(beta=torch.full(shape, 0.9), threshold=torch.full(shape, 1.0), **made)
    net = layers(neuron, kind)
    y = unrolled(net, x)
    return export_to_nir(net, x[0], ignore_dims=[0]), y


def shaped(graph):
    """Without its shapes, nir cannot save a convolution."""
    graph.infer_types()
    return graph


def norse_write(x, kind):
    """It has no Flatten: a second convolution stands for the last layer. Time constants stand in its cells as 1 / s."""
    import norse.torch as norse
    import torch
    from torch import nn

    if kind == "recurrent":
        return norse.to_nir(norse.SequentialState(*layers(norse.LIFRecurrentCell(8, 8))), x[0]), x
    full = lambda v: torch.full((3, 4, 4) if kind == "convolutional" else (8,), v)  # noqa: E731
    cell = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=full(100.0), v_th=full(0.5), v_leak=full(0.0)))
    made = layers(cell, kind)
    made = [made[0], cell, nn.Conv2d(3, 3, 4)] if kind == "convolutional" else [*made]
    net = norse.SequentialState(*made)
    return shaped(norse.to_nir(net, x[0, 0])), stepped(net, x)


def spikingjelly_write(x, kind):
    from spikingjelly.activation_based import functional, layer, neuron, nir_exchange

    lif = neuron.LIFNode(tau=2.0, v_reset=0.0, v_threshold=0.5)
    net = layers(layer.LinearRecurrentContainer(lif, 8, 8) if kind == "recurrent" else lif, kind)
    graph = nir_exchange.export_to_nir(net, x[0], dt=1e-4)
    functional.reset_net(net)
    return graph, unrolled(net, x)


def sinabs_write(x, kind):
    import sinabs.layers as sl
    import sinabs.nir
    import torch
    from torch import nn

    made = dict(batch_size=x.shape[1], spike_threshold=torch_of([0.5] * 8), spike_fn=sinabs.activation.SingleSpike,
                reset_fn=sinabs.activation.MembraneReset())  # fmt: skip
    if kind == "recurrent":
        net = layers(sl.LIFRecurrent(torch_of([10.0] * 8), nn.Linear(8, 8)))
        return sinabs.nir.to_nir(net, x.transpose(0, 1)), x
    elif kind == "convolutional":
        net = layers(sl.IAFSqueeze(**made | {"spike_threshold": torch_of(0.5)}), kind, sl.SumPool2d(2))
    else:
        net = layers(sl.LIFSqueeze(tau_mem=torch_of([10.0] * 8), norm_input=True, **made))
    flat = x.transpose(0, 1).flatten(0, 1)
    with torch.no_grad():
        y = net(flat)
    return shaped(sinabs.nir.to_nir(net, flat)), y.unflatten(0, (x.shape[1], x.shape[0])).transpose(0, 1)


def spyx_write(x, kind):
    import jax.numpy as jnp
    import spyx
    from flax import nnx
    from spyx import nir as exchange

    rngs = nnx.Rngs(0)
    x, shape = jnp.asarray(x), np.array([6])
    if kind == "convolutional":
        x, shape = x.transpose(0, 1, 3, 4, 2), np.array(x.shape[2:])
        made = [nnx.Conv(2, 3, (3, 3), rngs=rngs), spyx.nn.LIF((4, 4, 3), beta=0.9, rngs=rngs),
                spyx.nn.SumPool((2, 2), (2, 2), "VALID"), spyx.nn.Flatten(), nnx.Linear(12, 3, rngs=rngs)]  # fmt: skip
    else:
        neuron = spyx.nn.RLIF if kind == "recurrent" else spyx.nn.LIF
        made = [nnx.Linear(6, 8, rngs=rngs), neuron((8,), beta=0.9, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)]
    net = spyx.nn.Sequential(*made)
    y, _ = spyx.nn.run(net, x)
    return exchange.to_nir(net, {"input": shape}, {"output": np.array([3])}, dt=1e-4), y


def torch_of(numbers):
    import torch

    return torch.tensor(numbers)


def layers(neuron, kind="dense", pool=None):
    from torch import manual_seed, nn

    manual_seed(0)
    if kind == "convolutional":
        net = nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), neuron, pool or nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)
        )
    else:
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
        graph, found = WRITE[library](x, *rest)
        nir.write(file, graph)
        np.save(y, np.asarray(found))

"""One step of a stream without gradients: a network of a case in the words of each library, which keeps its state from
step to step. What is timed is one step, a mean over those of the case.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case, Layer, draw, layers

Step = Callable[[Any], Any]


def ready(name: str, case: Case, threads: int) -> Callable[[], tuple[float, float, Callable]]:
    """The input's steps one after the other: seconds of one, none backward, and how to see what came out."""
    if name in ON_JAX:
        many = "true" if threads > 1 else "false"  # to be said before the import
        os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={many} {os.environ.get('XLA_FLAGS', '')}".strip()
        import jax

        step, given = ON_JAX[name](case), [jax.numpy.asarray(x) for x in draw(case)[0]]
    else:
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        step, given = on_torch(name, case), list(torch.from_numpy(draw(case)[0]).unbind(0))
    for x in given[:2]:
        step(x)  # code is compiled and loaded before memory is measured, as in the other cases

    def run() -> tuple[float, float, Callable]:
        start = time.perf_counter()
        answers = [step(x) for x in given]
        seconds = (time.perf_counter() - start) / len(given)
        return seconds, 0.0, lambda: [float(sum(np.abs(np.asarray(y)).mean() for y in answers)) / len(answers)]

    return run


def kept(cell: Callable[[Any, Any], tuple[Any, Any]], state: Any = None) -> Step:
    """A cell (x_t, state) -> (y_t, state) that keeps its state."""

    def step(x: Any) -> Any:
        nonlocal state
        y, state = cell(x, state)
        return y

    return step


def on_torch(name: str, case: Case) -> Step:
    """The layers of a case one after the other, or all of them at once where a library knows how."""
    import torch
    from libraries import product

    if name == "ranvier":
        return ranvier(case)
    lif, readout = ON_TORCH[name](case.beta)
    every: list[Step] = []

    def recurrent(layer: Layer) -> Step:
        feedback, neuron = product(layer.weights[1]), lif(layer.after[0])

        def cell(u: Any, z: Any) -> tuple[Any, Any]:
            z = neuron(u + feedback(z))
            return z, z

        return kept(cell, torch.zeros(case.batch, *layer.after))

    for layer in layers(case):
        if layer.kind == "linear":
            every.append(product(*layer.weights))
        elif layer.kind == "recurrent":
            every += [product(layer.weights[0]), recurrent(layer)]
        else:
            every.append((lif if layer.kind == "lif" else readout)(layer.after[0]))

    def step(x: Any) -> Any:
        for one in every:
            x = one(x)
        return x

    return step


def ranvier(case: Case) -> Step:
    from on_torch import build

    import ranvier as rv

    return rv.Stream(build("ranvier", case)[0])


def loop(beta: float) -> tuple[Callable[[int], Step], Callable[[int], Step]]:
    """The least that can be written by hand."""
    import torch

    def lif(width: int) -> Step:
        def cell(x: Any, v: Any) -> tuple[Any, Any]:
            v = torch.add(x, v, alpha=beta)
            z = (v >= 1.0).float()
            return z, v - z

        return kept(cell, torch.zeros(1, width))

    return lif, leaky(beta)


def leaky(beta: float) -> Callable[[int], Step]:
    """A readout for those whose own is slower."""
    import torch

    def cell(x: Any, v: Any) -> tuple[Any, Any]:
        v = torch.add(x, v, alpha=beta)
        return v, v

    return lambda width: kept(cell, torch.zeros(1, width))


def spikingjelly(beta: float) -> tuple[Callable[[int], Step], Callable[[int], Step]]:
    from spikingjelly.activation_based import neuron, surrogate

    def lif(width: int) -> Step:
        return neuron.LIFNode(1 / (1 - beta), False, 1.0, None, surrogate.ATan(), True, step_mode="s").eval()

    return lif, leaky(beta)


def snntorch(beta: float) -> tuple[Callable[[int], Step], Callable[[int], Step]]:
    import snntorch as snn
    import torch

    def lif(width: int) -> Step:
        return kept(snn.Leaky(beta=beta), torch.zeros(1, width))

    return lif, leaky(beta)


def norse(beta: float) -> tuple[Callable[[int], Step], Callable[[int], Step]]:
    """Its membranes move by (1 - beta) (x - v), so the threshold is 1 - beta."""
    import norse.torch as nt
    import torch
    from norse.torch.functional.reset import reset_subtract

    def lif(width: int) -> Step:
        leak, threshold = torch.tensor(1000.0 * (1 - beta)), torch.tensor(1 - beta)
        p = nt.LIFBoxParameters(tau_mem_inv=leak, alpha=torch.tensor(10.0), v_th=threshold, reset_method=reset_subtract)
        return kept(nt.LIFBoxCell(p))

    return lif, leaky(beta)


def sinabs(beta: float) -> tuple[Callable[[int], Step], Callable[[int], Step]]:
    import sinabs.activation as activation
    import sinabs.layers as layers

    def lif(width: int) -> Step:
        made = layers.LIF(-1 / float(np.log(beta)), spike_fn=activation.SingleSpike, norm_input=False).eval()
        return lambda x: made(x.unsqueeze(1)).squeeze(1)

    return lif, leaky(beta)


def spyx(case: Case) -> Step:
    """The whole step compiled as one function."""
    import jax.numpy as jnp
    import spyx.nn as sn
    from flax import nnx
    from spyx import axn

    rngs, parts = nnx.Rngs(0), []
    for layer in layers(case):
        weights = [jnp.asarray(w.T) for w in layer.weights]
        if layer.kind == "recurrent":
            node = sn.RLIF(layer.after, beta=case.beta, activation=axn.arctan(), rngs=rngs)
            node.recurrent_w[...] = weights[1]
            parts.append((weights[:1], node))
        elif layer.kind == "linear":
            parts.append((weights, None))
        else:
            kind = sn.LIF if layer.kind == "lif" else sn.LI
            more = {"activation": axn.arctan()} if layer.kind == "lif" else {}
            parts.append(([], kind(layer.after, beta=case.beta, rngs=rngs, **more)))

    def whole(x: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        after = []
        for (weights, node), before in zip(parts, state, strict=True):
            for k, w in enumerate(weights):
                x = x + w if k else x @ w
            if node is not None:
                x, before = node(x, before)
            after.append(before)
        return x, after

    start = [None if node is None else node.initial_state(case.batch) for _, node in parts]
    return compiled(whole, start)


def jaxpike(case: Case) -> Step:
    """The same. It scales input by 1 - beta, so its thresholds are scaled too, and its readout back."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jaxpike as jp

    scale, tau, key = 1 - case.beta, float(-1 / np.log(case.beta)), jax.random.key(0)
    made = []
    for layer in layers(case):
        if layer.kind == "recurrent":
            raise NotImplementedError("has no recurrent as a layer")
        if layer.kind == "linear":
            dense = jp.Dense(*layer.weights[0].T.shape, key=key, use_bias=True)
            own = lambda one: (one.weight, one.bias)  # noqa: E731
            made.append(eqx.tree_at(own, dense, tuple(map(jnp.asarray, layer.weights))))
        else:
            made.append(jp.LIF(tau, threshold=scale) if layer.kind == "lif" else jp.LeakyIntegrator(tau))
    net = jp.Sequential(*made)

    def whole(x: Any, state: Any) -> tuple[Any, Any]:
        state, y = net(state, x)
        return y / scale, state

    return compiled(whole, net.init_state((case.batch, *case.shape)))


def compiled(whole: Callable[[Any, Any], tuple[Any, Any]], state: Any) -> Step:
    import jax

    step = kept(jax.jit(whole), state)
    return lambda x: jax.block_until_ready(step(x))


ON_TORCH = {f.__name__: f for f in (loop, spikingjelly, snntorch, norse, sinabs)}
ON_JAX = {f.__name__: f for f in (spyx, jaxpike)}

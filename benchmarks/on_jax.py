"""The layers of a case in the words of libraries on JAX: linear layers over the whole sequence, neurons by a scan."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from cases import CASES, Case, Layer, draw, layers

RATE = 0.01  # steps of SGD
UNROLL = (1, 4, 8)  # steps in a turn of a compiled loop: the fastest is taken


def through(node: Any, x: Any, unroll: int) -> Any:
    """A neuron through time as `spyx.nn.run` does it, but with several steps in a turn of the loop."""
    import jax

    def step(state: Any, x_t: Any) -> tuple[Any, Any]:
        y, state = node(x_t, state)
        return state, y

    return jax.lax.scan(step, node.initial_state(x.shape[1]), x, unroll=unroll)[1]


def folded(x: Any, *plain: Callable) -> Any:
    y = x.reshape(-1, *x.shape[2:])
    for function in plain:
        y = function(y)
    return y.reshape(*x.shape[:2], *y.shape[1:])


def spyx(case: Case, unroll: int) -> tuple[Any, Callable]:
    """Parameters, and the function (parameters, x) -> y. Pictures have their channels last."""
    import jax.numpy as jnp
    import spyx.nn as sn
    from flax import nnx
    from spyx import axn

    rngs, act, made = nnx.Rngs(0), axn.arctan(), []

    def product(layer: Layer) -> Any:
        weight = layer.weights[0]
        if made and made[-1][0].kind == "flatten":  # the channels came first where the weights were drawn
            weight = weight.reshape(-1, *made[-1][0].before).transpose(0, 2, 3, 1).reshape(weight.shape)
        bias = layer.kind == "linear" and len(layer.weights) == 2
        linear = nnx.Linear(*weight.T.shape, use_bias=bias, rngs=rngs)
        linear.kernel[...] = jnp.asarray(weight.T)
        return linear

    def neuron(kind: Any, layer: Layer, **more: Any) -> Any:
        return kind((*layer.after[1:], layer.after[0]), beta=case.beta, rngs=rngs, **more)

    def recurrent(layer: Layer) -> list[Any]:
        node = neuron(sn.RLIF, layer, activation=act)
        node.recurrent_w[...] = jnp.asarray(layer.weights[1].T)
        return [product(layer), node]

    def conv(layer: Layer) -> list[Any]:
        into, out = layer.before[0], layer.after[0]
        plain = nnx.Conv(into, out, (3, 3), padding=layer.padding, use_bias=False, rngs=rngs)
        plain.kernel[...] = jnp.asarray(layer.weights[0].transpose(2, 3, 1, 0))
        return [plain, nnx.BatchNorm(out, use_running_average=False, rngs=rngs)]

    words: dict[str, tuple[Callable, Callable]] = {  # the modules of a layer, and what they do
        "linear": (lambda layer: [product(layer)], lambda x, linear: linear(x)),
        "recurrent": (recurrent, lambda x, linear, node: through(node, linear(x), unroll)),
        "lif": (lambda layer: [neuron(sn.LIF, layer, activation=act)], lambda x, node: through(node, x, unroll)),
        "readout": (lambda layer: [neuron(sn.LI, layer)], lambda x, node: through(node, x, unroll)),
        "conv": (conv, folded),
        "pool": (lambda layer: [], lambda x: folded(x, lambda y: nnx.max_pool(y, (2, 2), (2, 2)))),
        "flatten": (lambda layer: [], lambda x: x.reshape(*x.shape[:2], -1)),
        "mean": (lambda layer: [], lambda x: x.mean((2, 3))),
    }
    for layer in layers(case):
        for one in layer.inner or [layer]:
            made.append((one, words[one.kind][0](one)))

    modules = nnx.List([module for _, own in made for module in own])
    graph, params, others = nnx.split(modules, lambda path, v: isinstance(v, nnx.Param) and path[-1] != "beta", ...)

    def forward(params: Any, x: Any) -> Any:
        rest, count = list(nnx.merge(graph, params, others, copy=True)), iter(len(own) for _, own in made)

        def one(layer: Layer, x: Any) -> Any:
            if layer.kind == "residual":
                return x + reduce(lambda y, inner: one(inner, y), layer.inner, x)
            own = [rest.pop(0) for _ in range(next(count))]
            return words[layer.kind][1](x, *own)

        return reduce(lambda y, layer: one(layer, y), layers(case), x)

    return params, forward


def jaxpike(case: Case, unroll: int) -> tuple[Any, Callable]:
    """The same. It scales input by 1 - beta, so its thresholds and slopes are scaled too, and its readout back."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jaxpike as jp

    scale, key = 1 - case.beta, jax.random.key(0)
    tau = float(-1 / np.log(case.beta))
    words: dict[str, Callable[[Layer], Any]] = {
        "linear": lambda layer: jp.Dense(*layer.weights[0].T.shape, key=key, use_bias=len(layer.weights) == 2),
        "lif": lambda layer: jp.LIF(tau, threshold=scale, surrogate=jp.ATan(2 / scale)),
        "readout": lambda layer: jp.LeakyIntegrator(tau),
    }
    if lacking := {layer.kind for layer in layers(case)} - words.keys():
        why = "batch norm" if "conv" in lacking else f"{', '.join(sorted(lacking))} as a layer"
        raise NotImplementedError(f"has no {why}")
    net = jp.Sequential(*(words[layer.kind](layer) for layer in layers(case)))

    def weights(net: Any) -> list[Any]:
        found = [(one.weight, one.bias) for one in net.layers if isinstance(one, jp.Dense)]
        return [w for pair in found for w in pair if w is not None]

    back = scale if layers(case)[-1].kind == "readout" else 1.0

    def forward(params: Any, x: Any) -> Any:
        whole = eqx.tree_at(weights, net, params) if params else net
        return jp.unroll(whole, x, scan_unroll=unroll)[0] / back

    return [jnp.asarray(w) for layer in layers(case) for w in layer.weights], forward


BUILD = {"spyx": spyx, "jaxpike": jaxpike}


def ready(name: str, case: Case, threads: int) -> Callable[[], tuple[float, float, Callable]]:
    """A step: seconds forward and backward, and how to see what came out."""
    many = "true" if threads > 1 else "false"  # to be said before the import
    flags = f"--xla_cpu_multi_thread_eigen={many} intra_op_parallelism_threads={threads}"
    os.environ["XLA_FLAGS"] = f"{flags} {os.environ.get('XLA_FLAGS', '')}".strip()
    command = [sys.executable, __file__, name, next(k for k, v in CASES.items() if v == case)]
    chosen = subprocess.run(command, capture_output=True, text=True)  # apart: memory is measured here
    if chosen.returncode:
        raise RuntimeError((chosen.stderr.strip().splitlines() or ["no answer"])[-1])
    return compiled(name, case, int(chosen.stdout))


def fastest(name: str, case: Case) -> int:
    """Of UNROLL."""

    def seconds(unroll: int) -> float:
        step = compiled(name, case, unroll)
        return min(sum(step()[:2]) for _ in range(3))

    return min(UNROLL, key=seconds)


def compiled(name: str, case: Case, unroll: int) -> Callable[[], tuple[float, float, Callable]]:
    import jax
    import jax.numpy as jnp
    import optax

    x, labels, given = draw(case)
    x, given = (a if a is None or len(case.shape) < 3 else np.moveaxis(a, 2, -1) for a in (x, given))
    x, labels, given = (a if a is None else jnp.asarray(a) for a in (x, labels, given))
    params, network = BUILD[name](case, unroll)

    def forward(params: Any, x: Any) -> tuple[Any, Any]:
        y = network(params, x)
        if case.loss == "crossentropy":
            return optax.softmax_cross_entropy_with_integer_labels(y.mean(0), labels).mean(), y
        return y.sum(), y

    def both(params: Any, x: Any) -> tuple[Any, Any, Any]:
        if case.loss == "given":
            y, back = jax.vjp(lambda x: forward(params, x)[1], x)
            return params, y.mean(), back(given)[0]
        (loss, y), g = jax.value_and_grad(forward, has_aux=True)(params, x)
        if case.loss == "sum":
            return params, y.mean(), g
        return jax.tree.map(lambda p, q: p - RATE * q, params, g), loss, None

    ahead, whole = (jax.jit(f).lower(params, x).compile() for f in (lambda p, x: forward(p, x)[1], both))
    now = [params]

    def step() -> tuple[float, float, Callable]:
        start = time.perf_counter()
        y = jax.block_until_ready(ahead(now[0], x))
        middle = time.perf_counter()
        if case.loss == "none":
            return middle - start, 0.0, lambda: [float(jnp.abs(y).mean())]
        now[0], value, gradient = jax.block_until_ready(whole(now[0], x))
        both = time.perf_counter() - middle
        norms = [] if gradient is None else [float(optax.global_norm(gradient))]
        return middle - start, both - (middle - start), lambda: [float(value), *norms]

    return step


if __name__ == "__main__":
    print(fastest(sys.argv[1], CASES[sys.argv[2]]))

"""The layers of a case in the words of Spyx, on JAX: linear layers over the whole sequence, neurons by a scan."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import CASES, Case, Layer, draw, layers

RATE = 0.01  # steps of SGD
UNROLL = (1, 4)  # ticks in a turn of a compiled loop: the faster is taken


def through(node: Any, x: Any, unroll: int) -> Any:
    """A neuron through time as `spyx.nn.run` does it, but with several ticks in a turn of the loop."""
    import jax

    def tick(state: Any, x_t: Any) -> tuple[Any, Any]:
        y, state = node(x_t, state)
        return state, y

    return jax.lax.scan(tick, node.initial_state(x.shape[1]), x, unroll=unroll)[1]


def folded(x: Any, *plain: Callable) -> Any:
    y = x.reshape(-1, *x.shape[2:])
    for function in plain:
        y = function(y)
    return y.reshape(*x.shape[:2], *y.shape[1:])


def build(case: Case, unroll: int) -> tuple[Any, Callable]:
    """The modules with parameters, and the function (modules, x) -> y. Pictures have their channels last."""
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
        plain = nnx.Conv(into, out, (3, 3), padding="VALID", use_bias=False, rngs=rngs)
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
    }
    for layer in layers(case):
        made.append((layer, words[layer.kind][0](layer)))

    def forward(modules: Any, x: Any) -> Any:
        rest = list(modules)
        for layer, own in made:
            x = words[layer.kind][1](x, *rest[: len(own)])
            del rest[: len(own)]
        return x

    return nnx.List([module for _, own in made for module in own]), forward


def ready(name: str, case: Case, threads: int) -> Callable[[], tuple[float, float, Callable]]:
    """A step: seconds forward and backward, and how to see what came out."""
    many = "true" if threads > 1 else "false"  # to be said before the import
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={many} intra_op_parallelism_threads={threads}"
    command = [sys.executable, __file__, next(k for k, v in CASES.items() if v == case)]
    chosen = subprocess.run(command, capture_output=True, text=True, check=True)  # apart: memory is measured here
    return compiled(case, int(chosen.stdout))


def faster(case: Case) -> int:
    """Of UNROLL."""

    def seconds(unroll: int) -> float:
        step = compiled(case, unroll)
        return min(sum(step()[:2]) for _ in range(3))

    return min(UNROLL, key=seconds)


def compiled(case: Case, unroll: int) -> Callable[[], tuple[float, float, Callable]]:
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    x, labels, given = draw(case)
    x, given = (a if a is None or len(case.shape) < 3 else np.moveaxis(a, 2, -1) for a in (x, given))
    x, labels, given = (a if a is None else jnp.asarray(a) for a in (x, labels, given))
    modules, network = build(case, unroll)
    graph, params, rest = nnx.split(modules, lambda path, v: isinstance(v, nnx.Param) and path[-1] != "beta", ...)

    def forward(params: Any, x: Any) -> tuple[Any, Any]:
        y = network(nnx.merge(graph, params, rest, copy=True), x)
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
        jax.block_until_ready(ahead(now[0], x))
        middle = time.perf_counter()
        now[0], value, gradient = jax.block_until_ready(whole(now[0], x))
        both = time.perf_counter() - middle
        norms = [] if gradient is None else [float(optax.global_norm(gradient))]
        return middle - start, both - (middle - start), lambda: [float(value), *norms]

    return step


if __name__ == "__main__":
    print(faster(CASES[sys.argv[1]]))

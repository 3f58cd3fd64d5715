"""The same network in Spyx's own flax, for the comparison: its models are not torch modules."""

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from spyx import axn, fn, nn

criterion = fn.integral_crossentropy(time_axis=0)


@nnx.jit
def step(model, optimizer, x, labels):
    loss, grads = nnx.value_and_grad(lambda m: criterion(nn.run(m, x)[0], labels))(model)
    optimizer.update(model, grads)
    return loss


def draws(steps):
    random = np.random.RandomState(0)
    weights = [random.randn(8, 32).astype("float32"), random.randn(32, 3).astype("float32") / 3]
    batches = []
    for _ in range(steps):
        labels = random.randint(3, size=32)
        chance = np.full((32, 8), 0.05)
        chance[np.arange(32), labels] = 0.5
        batches.append(((random.rand(16, 32, 8) < chance).astype("float32"), labels))
    return weights, batches


def main(steps=3):
    weights, batches = draws(steps)
    rngs = nnx.Rngs(0)
    model = nn.Sequential(
        nnx.Linear(8, 32, use_bias=False, rngs=rngs),
        nn.LIF((32,), beta=0.9, activation=axn.triangular(), rngs=rngs),
        nnx.Linear(32, 3, use_bias=False, rngs=rngs),
        nn.LI((3,), rngs=rngs),
    )
    for layer, weight in zip((model.layers[0], model.layers[2]), weights, strict=True):
        layer.kernel.value = jnp.asarray(weight)
    optimizer = nnx.Optimizer(model, optax.adam(2e-3), wrt=nnx.Param)
    return [float(step(model, optimizer, jnp.asarray(x), jnp.asarray(labels))) for x, labels in batches]

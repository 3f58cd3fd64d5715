"""Spyx's side of its checkpoints: `python checkpoints_spyx.py WRITE [READ]`; NumPy files, input and output too."""

import sys

import jax.numpy as jnp
import numpy as np
from flax import nnx
from spyx import nn

KINDS = ("LIF", "LI", "ALIF", "CuBaLIF", "RIF", "RLIF", "RCuBaLIF", "PSU_LIF")


def run(given):
    found = {}
    for kind in KINDS:
        layer = getattr(nn, kind)((3,), rngs=nnx.Rngs(1))
        params = dict(nnx.state(layer, nnx.Param).flat_state())
        assert not given or {f"{kind}/{k[0]}" for k in params} == {k for k in given if k.startswith(f"{kind}/")} - {
            f"{kind}/x.", f"{kind}/y.",
        }  # fmt: skip
        for (name,) in params:
            if given:
                getattr(layer, name).value = jnp.asarray(given[f"{kind}/{name}"])
            elif name == "recurrent_w":
                layer.recurrent_w.value = layer.recurrent_w.value * 50
            found[f"{kind}/{name}"] = np.asarray(getattr(layer, name).value)
        x = given[f"{kind}/x."] if given else np.random.RandomState(0).rand(8, 2, 3).astype("float32") * 2
        found |= {f"{kind}/x.": x, f"{kind}/y.": np.asarray(nn.run(layer, jnp.asarray(x))[0])}
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **run(dict(np.load(sys.argv[2])) if len(sys.argv) > 2 else {}))

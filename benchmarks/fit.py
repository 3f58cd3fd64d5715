"""Training with the data in memory, beside a plain torch DataLoader and beside Spyx's compiled loop: time of an update.

Spyx's own setting for spoken digits: 128 channels, two hidden layers of 128 leaky neurons, 20 readouts, 128 steps,
batches of 128, Adam; 2,048 random recordings at one bit a spike. Spyx runs all batches of an epoch in one compiled
program (jax.lax.scan over batches that were staged before). One thread each; the median epoch after the first.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

COUNT, STEPS, CHANNELS, HIDDEN, CLASSES, BATCH = 2048, 128, 128, 128, 20, 128
HERE = Path(__file__)
RATE, SEED = 0.05, 0


def recordings() -> tuple[Any, Any]:
    """Packed spikes [N, T / 8, C] uint8 and labels [N], as numpy arrays: the same for all."""
    import numpy as np

    random = np.random.RandomState(SEED)
    bits = np.concatenate([np.packbits(random.rand(256, STEPS, CHANNELS) < RATE, axis=1) for _ in range(COUNT // 256)])
    return bits, random.randint(0, CLASSES, COUNT)


def on_torch(way: str, epochs: int) -> list[float]:
    """Seconds of each epoch."""
    import torch
    from torch import nn

    import ranvier as rv
    from ranvier.data import Split
    from ranvier.data.packed import Packed, unpack
    from ranvier.recipes.recipe import Recipe
    from ranvier.train.engine import Batches

    torch.set_num_threads(1)
    bits, labels = (torch.from_numpy(a) for a in recordings())

    def build() -> nn.Module:
        return rv.Sequential(
            nn.Linear(CHANNELS, HIDDEN, bias=False), rv.LIF(), nn.Linear(HIDDEN, HIDDEN, bias=False), rv.LIF(),
            nn.Linear(HIDDEN, CLASSES, bias=False), rv.LI(),
        )  # fmt: skip

    @dataclass(frozen=True)
    class Speech(Recipe):
        name: ClassVar[str] = "speech"
        data: str = "digits"  # a name is wanted; the recordings are given to fit
        steps: int = STEPS
        batch: int = BATCH

        def build(self) -> nn.Module:
            return build()

        def encode(self, x: Any, generator: Any) -> Any:
            return unpack(x.transpose(0, 1), STEPS)

    if way == "lightning":
        from tempfile import TemporaryDirectory

        from ranvier.train.engine import fit, new_net
        from ranvier.train.folder import Folder

        plan = Speech(epochs=epochs)
        held = Split(bits[:BATCH], labels[:BATCH])
        with TemporaryDirectory() as folder:
            net = new_net(plan, bits[:1])
            rows = fit(plan, net, Split(bits, labels), held, Folder.create(Path(folder) / "run"), accelerator="cpu")
        ends = [0.0, *(row["seconds"] for row in rows)]
        return [b - a for a, b in pairwise(ends)]

    class OneByOne(torch.utils.data.Dataset):
        """What a data set of torch usually is: one recording at a time, as float32."""

        def __len__(self) -> int:
            return COUNT

        def __getitem__(self, k: int) -> tuple:
            return unpack(bits[k], STEPS), labels[k]

    def batches() -> Iterator[tuple]:
        if way == "loader":
            for x, y in torch.utils.data.DataLoader(OneByOne(), BATCH, shuffle=True):
                yield x.transpose(0, 1), y
        else:
            for x, y in Batches(Split(bits, labels), BATCH, SEED):
                yield unpack(x.transpose(0, 1), STEPS), y

    assert Packed.of_bytes(bits, labels, STEPS)[:2][0].shape == (STEPS, 2, CHANNELS)
    net, loss = build(), rv.loss.integral_crossentropy(0.3)
    adam = torch.optim.Adam(net.parameters(), 5e-4)
    spent = []
    for _ in range(epochs):
        start = time.perf_counter()
        for x, y in batches():
            adam.zero_grad()
            loss(net(x), y).backward()
            adam.step()
        spent.append(time.perf_counter() - start)
    return spent


def on_jax(epochs: int) -> list[float]:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax
    import jax.numpy as jnp
    import optax
    import spyx.nn as sn
    from flax import nnx
    from spyx import axn, fn

    bits, labels = recordings()
    bits, labels = jnp.asarray(bits).reshape(-1, BATCH, *bits.shape[1:]), jnp.asarray(labels).reshape(-1, BATCH)
    rngs = nnx.Rngs(SEED)
    layers = [
        nnx.Linear(CHANNELS, HIDDEN, use_bias=False, rngs=rngs), sn.LIF((HIDDEN,), activation=axn.arctan(), rngs=rngs),
        nnx.Linear(HIDDEN, HIDDEN, use_bias=False, rngs=rngs), sn.LIF((HIDDEN,), activation=axn.arctan(), rngs=rngs),
        nnx.Linear(HIDDEN, CLASSES, use_bias=False, rngs=rngs), sn.LI((CLASSES,), rngs=rngs),
    ]  # fmt: skip
    model = sn.Sequential(*layers)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    adam, crossentropy = optax.adam(5e-4), fn.integral_crossentropy(time_axis=0)

    def loss(params: Any, x: Any, y: Any) -> Any:
        x = jnp.unpackbits(x, axis=1).astype(jnp.float32).swapaxes(0, 1)
        return crossentropy(sn.run(nnx.merge(graph, params, rest), x)[0], y)

    def update(carried: tuple, batch: tuple) -> tuple:
        params, state = carried
        grads = jax.grad(loss)(params, *batch)
        changes, state = adam.update(grads, state, params)
        return (optax.apply_updates(params, changes), state), None

    @jax.jit
    def epoch(carried: tuple, key: Any) -> tuple:
        order = jax.random.permutation(key, COUNT)
        x = bits.reshape(COUNT, *bits.shape[2:])[order].reshape(bits.shape)
        y = labels.reshape(COUNT)[order].reshape(labels.shape)
        return jax.lax.scan(update, carried, (x, y))[0]

    carried, spent = (params, adam.init(params)), []
    for k in range(epochs):
        start = time.perf_counter()
        carried = jax.block_until_ready(epoch(carried, jax.random.key(k)))
        spent.append(time.perf_counter() - start)
    return spent


WAYS = {
    "in memory": "ranvier, packed in memory, a plain loop",
    "lightning": "ranvier, packed in memory, `engine.fit` (Lightning, with validation)",
    "loader": "ranvier, torch DataLoader, sample by sample",
    "spyx": "Spyx, all batches of an epoch in one compiled program",
}


def main(quick: bool = False) -> None:
    """A table of milliseconds per update."""
    from peers import python

    epochs = 2 if quick else 5
    print(f"{CHANNELS}-{HIDDEN}-{HIDDEN}-{CLASSES}, T={STEPS}, batch {BATCH}, {COUNT} recordings, one thread\n")
    print("| way | ms per update |")
    print("|---|---|")
    for way, name in WAYS.items():
        interpreter = python("spyx") if way == "spyx" else Path(sys.executable)
        if not interpreter.exists():
            print(f"| {name} | not installed: python benchmarks/peers.py spyx |")
            continue
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if way == "spyx":
            environment.pop("PYTHONPATH", None)
        command = [str(interpreter), str(HERE), "--child", way, str(epochs)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1][:150]} |")
            continue
        spent = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"| {name} | {1e3 * statistics.median(spent[1:]) / (COUNT / BATCH):.1f} |", flush=True)


if __name__ == "__main__":
    if "--child" in sys.argv:
        way, epochs = sys.argv[sys.argv.index("--child") + 1 :]
        print(json.dumps(on_jax(int(epochs)) if way == "spyx" else on_torch(way, int(epochs))))
    else:
        main("--quick" in sys.argv)

"""Both Triton kernels of every neuron compile for sm_90, with no GPU present."""

import os
import subprocess
import sys

SCRIPT = """
import torch, triton, ranvier as rv
from everything import NEURONS
from ranvier.machines import gpu
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

def compiled(rule, x="fp32", real="fp32", wide=0):
    inputs, states, params, outputs = len(rule.inputs), len(rule.states), len(rule.params), len(rule.outputs)
    code = gpu.module(rule, torch.float64 if real == "fp64" else torch.float32, (True,) * (inputs + params))
    many = dict(inputs=inputs, outputs=outputs, g_outputs=outputs, g_inputs=inputs)
    kinds = {k: ("*" + x,) * n for k, n in many.items()}
    kinds |= {"params": ("*" + real,) * params, **dict.fromkeys(("T", "N", "segment", "segments"), "i32")}
    constants = dict(wide=(wide,) * params, S=states, P=params, BLOCK=gpu.block(1 << 20, 132)[0])
    for kernel in (code.forward, code.backward):
        signature = {a: "constexpr" if a in constants else kinds.get(a, "*" + real) for a in kernel.arg_names}
        at = {(kernel.arg_names.index(a),): v for a, v in constants.items() if a in kernel.arg_names}
        options = {"num_warps": gpu.block(1 << 20, 132)[1], "enable_fp_fusion": False}
        made = triton.compile(ASTSource(kernel, signature, at), target=GPUTarget("cuda", 90, 32), options=options)
        plain = {o.name for o in rule.step.ops} <= {"add", "sub", "mul", "neg", "spike", "spike_strict", "stop"}
        assert not (plain and kernel is code.forward and "fma.rn" in made.asm["ptx"]), "fused multiply-add"
        assert len(made.asm["cubin"]) > 0

for neuron in NEURONS:
    compiled(neuron().bound(()))
compiled(rv.ALIF().bound(()), "bf16", wide=1)
compiled(rv.ALIF().bound(()), "fp64", "fp64")
print(len(NEURONS), "neurons compiled")
"""


def test_every_neuron_compiles_for_sm_90():
    env = {
        **os.environ,
        "TRITON_INTERPRET": "0",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(os.path.dirname(__file__)), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=280, env=env, check=False
    )
    assert "neurons compiled" in done.stdout, done.stderr[-3000:]

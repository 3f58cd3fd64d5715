"""The Triton kernels of every neuron, and those of recurrent layers, compile for sm_90, with no GPU present."""

import os
import subprocess
import sys

SCRIPT = """
import torch, triton, ranvier as rv
from everything import NEURONS
from ranvier.backends import triton_backend
from ranvier.spikes import feedback_gpu
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

ONES = dict.fromkeys(("T", "B", "N", "segment", "segments"), 1)  # Triton makes a constant of a whole number that is 1

def compiled(kernel, kinds, constants, warps, real="fp32"):
    kinds = dict.fromkeys(ONES, "i32") | kinds
    signature = {a: "constexpr" if a in constants else kinds.get(a, "*" + real) for a in kernel.arg_names}
    at = {(kernel.arg_names.index(a),): v for a, v in constants.items() if a in kernel.arg_names}
    options = {"num_warps": warps, "enable_fp_fusion": False}
    made = triton.compile(ASTSource(kernel, signature, at), target=GPUTarget("cuda", 90, 32), options=options)
    assert len(made.asm["cubin"]) > 0
    return made.asm["ptx"]

def exact(real):
    return torch.float64 if real == "fp64" else torch.float32

def known(rule, x, real, wide):
    inputs, states, params, outputs = len(rule.inputs), len(rule.states), len(rule.params), len(rule.outputs)
    many = dict(inputs=inputs, outputs=outputs, g_outputs=outputs, g_inputs=inputs)
    kinds = {k: ("*" + x,) * n for k, n in many.items()} | {"parameters": ("*" + real,) * params}
    return kinds, dict(wide=(wide,) * params, S=states, P=params)

def scan(rule, x="fp32", real="fp32", wide=0, ones=()):
    code = triton_backend.module(rule, exact(real), (True,) * len(rule.inputs + rule.params))
    kinds, constants = known(rule, x, real, wide)
    size, warps = triton_backend.block(1 << 20, 132)
    constants |= dict(BLOCK=size, **dict(ones))
    for kernel in (code.forward, code.backward):
        ptx = compiled(kernel, kinds, constants, warps, real)
        plain = {o.name for o in rule.step.ops} <= {"add", "sub", "mul", "neg", "spike", "spike_strict", "stop"}
        assert not (plain and kernel is code.forward and "fma.rn" in ptx), "fused multiply-add"

def feedback(rule, dtype=torch.float32, real="fp32", wide=0, batch=64, neurons=200, ones=()):
    code = feedback_gpu.kernels(rule, exact(real), (True,) * len(rule.inputs + rule.params))
    inner = {torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]
    kinds, constants = known(rule, inner, real, wide)
    constants |= dict(bias=None, **feedback_gpu.block(batch, neurons, dtype, 132)._asdict(), **dict(ones))
    warps = constants.pop("num_warps")
    return [compiled(kernel, kinds | dict(x="*" + inner, weight="*" + inner, last="*" + inner), constants, warps, real)
            for kernel in (code.feedback_forward, code.feedback_backward)]

for neuron in NEURONS:
    scan(neuron().bound(()))
scan(rv.LIF().bound(()), ones=ONES)
scan(rv.ALIF().bound(()), "bf16", wide=1)
scan(rv.ALIF().bound(()), "fp64", "fp64")
print(len(NEURONS), "neurons compiled")

alif = rv.ALIF().bound(())
for ptx in (*feedback(alif), *feedback(rv.LIF().bound(()), batch=1, neurons=1, ones=ONES)):
    assert "fma.rn" in ptx and "mma.sync" not in ptx
for ptx in feedback(alif, torch.bfloat16, wide=1):
    assert "mma.sync" in ptx
feedback(alif, torch.float64, "fp64", neurons=20)
torch.set_float32_matmul_precision("high")
for ptx in feedback(alif, neurons=512):
    assert "mma.sync" in ptx and "tf32" in ptx
print("recurrent layers compiled")
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
    assert "recurrent layers compiled" in done.stdout, done.stderr[-3000:]

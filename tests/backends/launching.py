"""Every kernel through Triton's own launcher, with no GPU. `test_launch.py` runs this in a process of its own.

    python launching.py bind            # arguments are bound as a launch binds them: every rule
    python launching.py launch FOLDER   # compiled for sm_90, loaded and launched by the driver in FOLDER: some rules

Triton's interpreter and its ahead-of-time compiler know nothing of the launcher, so only this sees its mistakes.
"""

import ctypes
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["TRITON_INTERPRET"] = "0"

import torch
from torch import nn
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import make_backend
from triton.runtime import driver
from triton.runtime.jit import JITFunction, create_function_from_signature

import ranvier as rv
from everything import NEURONS
from ranvier.backends import op, triton_backend, triton_linear
from ranvier.spikes import bits_gpu, feedback_gpu

H100 = GPUTarget("cuda", 90, 32)


def scan(neuron, steps=9, neurons=33, dtype=torch.float32, wanted=True, scaled=False, marked=False):
    """Forward and backward of a rule, perhaps behind a norm; the outcome means nothing, for no kernel runs."""
    rule, real = neuron.bound(()), torch.float64 if dtype == torch.float64 else torch.float32
    inputs = [torch.rand(steps, neurons, dtype=dtype) for _ in rule.inputs]
    initial = torch.zeros(len(rule.states), neurons, dtype=real)
    params = op.flat_params(neuron.values(torch.empty(1, dtype=real)), (neurons,), real)
    if scaled:
        rule, params = rule.scaled, [*params, *torch.rand(3, neurons, dtype=real)]
    triton_backend.forward(rule, inputs, initial, params)
    grads, each = [torch.rand_like(inputs[0]) for _ in rule.outputs], (wanted,) * len(params)
    every = (True,) * len(inputs) + each
    if marked:
        triton_backend.forward_marked(rule, inputs, initial, params, every)
    triton_backend.backward(rule, inputs, initial, params, grads, initial.clone(), every)


def recurrent(neuron, steps=9, batch=3, neurons=33, dtype=torch.float32, bias=False, segment=4):
    rule, real = neuron.bound(()), torch.float64 if dtype == torch.float64 else torch.float32
    x, layer = torch.rand(steps, batch, neurons, dtype=dtype), nn.Linear(neurons, neurons, bias=bias, dtype=dtype)
    initial, params = (
        torch.zeros(len(rule.states), batch, neurons, dtype=real),
        neuron.values(torch.empty(1, dtype=real)),
    )
    weight, offset = layer.weight.detach(), layer.bias.detach() if bias else None
    outputs, final, marks, u = feedback_gpu.forward(rule, x, x[0], initial, params, weight, offset, segment)
    grads, wanted = [*outputs, final], [True] * len(params)
    feedback_gpu.backward(rule, u, marks, params, weight, grads, wanted, segment)


def traces(neuron):
    """Traces of a rule's weights and parameters carried forward."""
    from ranvier.backends import traces, triton_traces
    from ranvier.derive.influence import influence

    rule, layout = neuron.bound(()), traces.Layout(3, 11, 2)
    learned = influence(rule, (*(f"{k}_" for k in rule.params if k not in rule.numbers), rule.arguments[0]))
    inputs = [torch.rand(9, 66) for _ in rule.inputs]
    params = op.flat_params(neuron.values(torch.empty(1)), (66,), torch.float32)
    grads, came = [torch.rand(1, 66) for _ in rule.outputs], torch.rand(9, 6, 70)
    initial, signals = torch.zeros(len(rule.states), 66), rule.arguments[: len(inputs)]
    call = traces.Call(learned, inputs, initial, params, grads, came, layout, signals)
    triton_traces.carry_traces(call, traces.Traces.zeros(learned, layout, 70, came))


def recurrence(shape, dtype):
    c, x = torch.rand(shape, dtype=dtype), torch.rand(9, 3, 33, dtype=dtype)
    for back in (False, True):
        triton_linear.recurrence(c, x, back)


def packed(dtype, columns):
    bits_gpu.unpack(bits_gpu.pack(torch.zeros(5, columns, dtype=dtype)), columns, dtype)


SOME = {
    "recurrence": lambda: recurrence((), torch.float32),
    "recurrence, changing": lambda: recurrence((9, 3, 33), torch.float64),
    "recurrence, complex": lambda: recurrence((3, 33), torch.complex64),
    "recurrence, complex and changing": lambda: recurrence((9, 3, 33), torch.complex128),
    "bits": lambda: packed(torch.float32, 33),
    "bits, bfloat16": lambda: packed(torch.bfloat16, 128),
    "bits, one number": lambda: packed(torch.float64, 1),
    "traces": lambda: traces(rv.ALIF()),
    "LIF": lambda: scan(rv.LIF()),
    "LIF, one neuron and one step": lambda: scan(rv.LIF(), 1, 1),
    "LIF, one parameter for each neuron": lambda: scan(rv.LIF(beta=torch.rand(33))),
    "LIF, bfloat16": lambda: scan(rv.LIF(), neurons=64, dtype=torch.bfloat16),
    "ALIF, float64": lambda: scan(rv.ALIF(), dtype=torch.float64),
    "Heaviside, no state": lambda: scan(rv.Heaviside()),
    "LI, linear": lambda: scan(rv.LI()),
    "AdEx": lambda: scan(rv.AdEx()),
    "TimedLIF, two inputs": lambda: scan(rv.TimedLIF()),
    "LIF, no parameter learns": lambda: scan(rv.LIF(), wanted=False),
    "LIF behind a norm": lambda: scan(rv.LIF(), scaled=True, marked=True),
    "Recurrent": lambda: recurrent(rv.LIF()),
    "Recurrent, bias": lambda: recurrent(rv.ALIF(), bias=True),
    "Recurrent, one neuron and one step": lambda: recurrent(rv.LIF(), 1, 1, 1, segment=1),
    "Recurrent, bfloat16": lambda: recurrent(rv.LIF(), dtype=torch.bfloat16),
}
ALL = {
    **{f"{c.__name__} behind a norm": lambda c=c: scan(c(), scaled=True, marked=True) for c in NEURONS},
    **{f"{c.__name__}, {n} neurons": lambda c=c, n=n: scan(c(), neurons=n) for c in NEURONS for n in (1, 33, 1024)},
    **{f"Recurrent {c.__name__}": lambda c=c: recurrent(c()) for c in NEURONS if len(c().bound(()).inputs) == 1},
    **{f"traces of {c.__name__}": lambda c=c: traces(c()) for c in (rv.LIF, rv.CubaLIF, rv.AdEx)},
    **SOME,
}


def binder(found):
    """In place of a launch: bind the arguments as Triton would for an H100, and note which kernel took them."""
    backend = make_backend(H100)

    def run(self, *args, grid, warmup, **kwargs):
        create_function_from_signature(self.signature, self.params, backend)(*args, **kwargs)
        found.add(self.__name__)

    return run


def noted(found):
    """A launch that notes which kernel it launches."""
    launch = JITFunction.run

    def run(self, *args, **kwargs):
        found.add(self.__name__)
        return launch(self, *args, **kwargs)

    return run


def stub(folder):
    """Triton's driver, on a stub of CUDA's; gives the number of launches so far."""
    os.environ["TRITON_LIBCUDA_PATH"] = folder
    library = ctypes.CDLL(str(Path(folder) / "libcuda.so.1"), mode=ctypes.RTLD_GLOBAL)
    from triton.backends.nvidia.driver import CudaDriver, CudaLauncher, CudaUtils

    class Stub(CudaDriver):
        def __init__(self):
            self.utils, self.launcher_cls = CudaUtils(), CudaLauncher
            self.get_current_device, self.set_current_device = lambda: 0, lambda device: None
            self.get_device_capability, self.get_current_stream = lambda device: (9, 0), lambda device: 0

        def get_current_target(self):
            return H100

        def get_active_torch_device(self):
            return torch.device("cpu")

    driver.set_active(Stub())
    return lambda: ctypes.c_long.in_dll(library, "stub_launches").value


def refused():
    """What the launcher says to a kernel one of whose arguments bears a name that the launcher uses itself."""
    import triton

    @triton.jit
    def kernel(params, N):
        pass

    kernel[(1,)]((torch.rand(3),), 3)


def main(mode, folder=None):
    found = set()
    JITFunction.run = binder(found) if mode == "bind" else noted(found)
    launches = stub(folder) if mode == "launch" else lambda: len(found)
    for name, call in (ALL if mode == "bind" else SOME).items():
        before = launches()
        try:
            call()
        except Exception as problem:
            print(f"FAILED {name}: {type(problem).__name__}: {problem}")
            continue
        assert mode == "bind" or launches() >= before + 2, f"{name}: nothing was launched"
    try:
        refused()
    except TypeError as problem:
        print(f"as it must be: {problem}")
    print(f"{mode}: {launches()} {' '.join(sorted(found - {'kernel'}))}")


if __name__ == "__main__":
    main(*sys.argv[1:])

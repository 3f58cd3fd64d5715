"""The operator under torch's own checks, in other threads, in forked and spawned processes."""

import os
import subprocess
import sys
import threading

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.data import DataLoader, TensorDataset

import ranvier as rv


def test_opcheck():
    layer = rv.LIF(learn=("beta",))
    key = layer.bound(()).key
    x, initial = torch.rand(5, 2, 3, requires_grad=True), torch.zeros(1, 2, 3)
    params = [layer.beta, *layer.values(x)[1:]]
    torch.library.opcheck(torch.ops.ranvier.scan.default, ([x], initial, params, key, "numba"))
    grads = [torch.rand(5, 2, 3), torch.rand(1, 2, 3)]
    plain = [p.detach() for p in params]
    arguments = ([x.detach()], initial, plain, grads, [True, True, False, False], key, "numba")
    torch.library.opcheck(torch.ops.ranvier.scan_backward.default, arguments)


def test_the_operator_and_the_short_road_to_it_give_the_same():
    layer, x = rv.LIF(learn=("beta",)), torch.rand(5, 2, 3)
    traced = make_fx(layer)(x)
    assert any(node.target is torch.ops.ranvier.scan.default for node in traced.graph.nodes)
    found = []
    for way in (layer, traced):
        leaf = x.clone().requires_grad_()
        y = way(leaf)
        found.append((y, *torch.autograd.grad(y.square().sum(), [leaf])))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_two_threads_at_once():
    layer, x = rv.LIF(learn=("beta",)), torch.rand(50, 8, 3000)
    true = layer(x)
    wrong = []

    def work():
        for _ in range(5):
            y = layer(x)
            y.sum().backward()
            if not torch.equal(y, true):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def collate(rows):
    x = torch.stack([r[0] for r in rows]).expand(50, -1, -1)
    return rv.LIF()(x).sum(0)


SCRIPT = """
import os, torch, ranvier as rv
layer, x = rv.LIF(), torch.rand(60, 4, 3000)
true = layer(x)                      # its threads are running
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(layer(x), true) else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
assert torch.equal(layer(x), true)
print("fine")
"""


def test_after_fork():
    env = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, env=env, check=False
    )
    assert done.stdout.strip() == "fine", done.stderr


def test_in_workers_of_a_data_loader():
    data = TensorDataset(torch.rand(8, 3000))
    rows = list(DataLoader(data, batch_size=4, num_workers=2, collate_fn=collate, multiprocessing_context="fork"))
    assert len(rows) == 2 and rows[0].shape == (4, 3000)


def test_code_is_kept_on_disk_and_mended_if_damaged(tmp_path):
    script = "import torch, ranvier as rv; print(rv.LIF()(torch.ones(3, 1, 1)).sum().item())"
    env = {**os.environ, "RANVIER_CACHE": str(tmp_path)}
    run = lambda: subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=True)  # noqa: E731
    first = run().stdout
    (module,) = tmp_path.glob("LIF_*.py")
    stamp = module.stat().st_mtime_ns
    assert run().stdout == first and module.stat().st_mtime_ns == stamp
    assert list((tmp_path / "__pycache__").glob("*.nbi"))
    module.write_text("half of a mod")
    assert run().stdout == first
    kept = tmp_path / "__pycache__"
    files = [*kept.glob("LIF_*.nbi"), *kept.glob("words_*.nbc")]  # of compiled code, cut off
    whole = [file.stat().st_size for file in files]
    for file in files:
        os.truncate(file, 50)
    assert len(files) > 3 and run().stdout == first
    assert [file.stat().st_size for file in files] == whole  # written anew


@pytest.mark.slow
@pytest.mark.parametrize(("size", "said"), [("8k", "this code is kept in"), ("32k", "kernels cannot be kept")])
def test_a_full_disk_costs_time_only(tmp_path, size, said):
    """There is no room for the printed code, or for the compiled code."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        script = "import torch, ranvier as rv; print(rv.LIF()(torch.ones(3, 1, 1)).sum().item())"
        env = {**os.environ, "RANVIER_CACHE": str(tmp_path / "cache")}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=True)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert said in done.stderr and "No space left" in done.stderr and done.stdout == "3.0\n"


def test_a_class_may_have_any_name():
    assert type("My LIF/2", (rv.LIF,), {})()(torch.ones(3, 1, 1)).sum() == 3


def test_a_cache_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    script = "import torch, ranvier as rv; print(rv.LIF()(torch.ones(3, 1, 1)).sum().item())"
    env = {**os.environ, "RANVIER_CACHE": str(blocked / "below")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=True)
    assert "cannot be written" in done.stderr and done.stdout.strip()


@pytest.mark.parametrize("backend", ["numba", "triton"])
def test_a_gradient_that_is_the_same_at_every_step(backend):
    """As means over time give it: it is not spread over memory."""
    layer, back, found = rv.LIF(), torch.rand(2, 7).expand(5, 2, 7), []
    for name in (backend, "reference"):
        torch.manual_seed(0)
        x = torch.rand(5, 2, 7, requires_grad=True)
        with rv.backend(name):
            layer(x).backward(back)
        found.append(x.grad)
    torch.testing.assert_close(*found)

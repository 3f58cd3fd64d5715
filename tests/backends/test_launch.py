"""Every kernel goes through Triton's own launcher, with no GPU present: what a launch refuses must be seen here."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def launched(*arguments):
    """What `launching.py` prints."""
    env = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, HERE / "launching.py", *arguments], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "FAILED" not in done.stdout, done.stdout
    assert "as it must be: failed to specialize" in done.stdout, "a kernel with the launcher's own name was taken"
    return done.stdout


def test_the_launcher_binds_the_arguments_of_every_kernel_of_every_rule():
    said = launched("bind")
    kernels = "forward", "mark", "backward", "feedback_forward", "feedback_backward", "recurrence", "pack", "unpack"
    assert all(f"'{kernel}'" in said for kernel in kernels)


def test_kernels_are_compiled_loaded_and_launched_by_a_driver(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None or not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        pytest.skip("no C compiler with Python's headers: the stub driver cannot be built")
    library = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library,
                    HERE / "stub_driver.c"], check=True)  # fmt: skip
    (tmp_path / "libcuda.so").symlink_to(library)
    said = launched("launch", str(tmp_path))
    assert int(said.split("launch: ")[1].split()[0]) >= 42

"""Every kernel goes through Triton's own launcher, with no GPU present: what a launch refuses must be seen here."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import ranvier

HERE = Path(__file__).parent

# Every kernel that is launched, and not called by another one. None pools: on a GPU torch pools what the neurons gave.
FILES = sorted(Path(ranvier.__file__).parent.rglob("*.py"))
KERNELS = {name for file in FILES for name in re.findall(r"^@triton\.jit\(.*\)\ndef (\w+)", file.read_text(), re.M)}


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


def named(said):
    """The kernels that were launched."""
    return set(said.splitlines()[-1].split()[2:])


def test_the_launcher_binds_the_arguments_of_every_kernel_of_every_rule():
    assert named(launched("bind")) == KERNELS
    assert {"forward", "mark", "backward", "feedback_forward", "carry_own", "recurrence", "pack"} < KERNELS


def test_kernels_are_compiled_loaded_and_launched_by_a_driver(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None or not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        pytest.skip("no C compiler with Python's headers: the stub driver cannot be built")
    library = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library,
                    HERE / "stub_driver.c"], check=True)  # fmt: skip
    (tmp_path / "libcuda.so").symlink_to(library)
    said = launched("launch", str(tmp_path))
    assert named(said) == KERNELS
    assert int(said.splitlines()[-1].split()[1]) >= 42

"""The Slurm script of the page on clusters runs as it is printed, where stand-ins of `srun` and `scontrol` start its
two nodes on this machine.
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from test_processes_train import ENVIRONMENT, TASK

from ranvier.train.folder import Folder

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "clusters.md"
STAND_INS = {
    "scontrol": '[ "$*" = "show hostnames two-nodes" ] && echo localhost && echo other',
    "srun": 'for n in 0 1; do SLURM_NODEID=$n "$@" & jobs="$jobs $!"; done; for j in $jobs; do wait $j || exit 1; done',
    "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
}


def script():
    blocks = re.findall(r"```text\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (found,) = [block for block in blocks if block.startswith("#!/bin/bash")]
    return found


def changed(text, **changes):
    for old, new in changes.values():
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.mark.slow
def test_the_script_trains_on_two_nodes(tmp_path):
    (tmp_path / "bin").mkdir()
    for name, line in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    small = changed(
        script(),
        processes=("--nproc-per-node=4", "--nproc-per-node=1"),
        devices=("--devices 4", "--devices 1 --accelerator cpu --batch 17 --clip 1"),
        port=(":29400", f":{port}"),
        recipe=("mine.py:Recipe", "task.py:Recurrent"),
    )
    (tmp_path / "job.sh").write_text(small)
    (tmp_path / "task.py").write_text(TASK)
    subprocess.run(["bash", "-n", "job.sh"], cwd=tmp_path, check=True)
    slurm = {"SLURM_JOB_NODELIST": "two-nodes", "SLURM_NNODES": "2", "SLURM_JOB_ID": "77", "SLURM_NTASKS": "2"}
    env = ENVIRONMENT | slurm | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    job = dict(cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    done = subprocess.run(["bash", "job.sh"], **job)
    assert done.returncode == 0, done.stderr[-3000:]
    one = [sys.executable, "-m", "ranvier", "train", "task.py:Recurrent", "--accelerator", "cpu", "--batch", "34",
           "--clip", "1", "--out", "alone"]  # fmt: skip
    subprocess.run(one, cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True, timeout=200)
    rows, there = (Folder(tmp_path / name).read_metrics() for name in ("runs/mine", "alone"))
    assert len(rows) == len(there) == 3
    for row, other in zip(rows, there, strict=True):
        assert abs(row["train_loss"] - other["train_loss"]) <= 1e-4

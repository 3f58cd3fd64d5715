"""Two processes give what one gives."""

import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import sharded


@cache
def told(way):
    """What the two processes say of each network."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(Path(sharded.__file__)), way, str(port)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, env=env, check=False)
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line), done.stderr[-2000:]


@pytest.mark.parametrize("name", sharded.NETS)
@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_two_processes_train_as_one(way, name):
    """`DistributedDataParallel` and `fully_shard`, each layer by itself, with learned numbers."""
    found, errors = told(way)
    assert found.get(name) == "right", errors

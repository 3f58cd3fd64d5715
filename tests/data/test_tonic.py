"""Data sets of tonic as they are: the program of the page, on generated files laid out as N-MNIST is published.

tonic stands below .peers:
`pip install --no-deps --target .peers/tonic tonic loguru tqdm pbr expelliarmus importRosbag`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from formats import atis, drawn

ROOT = Path(__file__).parents[2]

BEFORE = """
import torch
from torch import nn
from torch.utils.data import DataLoader
import ranvier as rv, ranvier.train
from tonic import datasets
datasets.NMNIST._check_exists = lambda self: True  # it counts 60,000 files
torch.manual_seed(0)
"""
AFTER = """
for x, labels in loaders[0]:
    assert x.shape[1:] == (len(labels), 2, 34, 34) and x.dtype == torch.float32
    assert net(x).shape == (len(x), len(labels), 10)
lengths = {len(train[k][0]) for k in range(len(train))}
assert len(lengths) > 1, lengths
short = min(range(len(train)), key=lambda k: len(train[k][0]))
x, _ = PadTensors(batch_first=False)([train[short], max(train, key=lambda s: len(s[0]))])
alone = torch.as_tensor(train[short][0])[:, None]
torch.testing.assert_close(net(x)[: len(alone), :1], net(alone), atol=1e-6, rtol=0)
assert (x[: len(alone), :1] == alone).all() and not x[len(alone) :, 0].any()
result = ranvier.train.run(net, "runs/whole", data=(train, test), epochs=10, batch=8, lr=0.01, workers=1)
print(f"accuracy {result.accuracy}")
"""


@pytest.mark.peer
def test_the_program_of_the_page(tmp_path):
    for part, many in (("Train", 6), ("Test", 3)):
        for digit in range(10):
            folder = tmp_path / "data" / "NMNIST" / part / str(digit)
            folder.mkdir(parents=True)
            for k in range(many):
                found = drawn("atis", 150 + 50 * (k % 3), seed=k)  # each digit has a row of its own
                rows = [(t * (1 + k % 3) // 3, x, 3 * digit + y % 3, p) for t, x, y, p in found]
                (folder / f"{k:05d}.bin").write_bytes(atis(rows))
    page = (ROOT / "docs" / "how-to" / "own-data.md").read_text()
    (program,) = re.findall(r"```py\n(.*?)```", page, flags=re.DOTALL)
    path = os.pathsep.join(map(str, (ROOT / "src", ROOT / ".peers" / "tonic")))
    command = [sys.executable, "-c", BEFORE + program + AFTER]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout.splitlines()[-1].split()[1]) > 0.8, done.stdout[-500:]

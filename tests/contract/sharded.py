"""Two processes and one train the same: run by `test_processes.py`, once for each way to share the work."""

import copy
import os
import sys
import warnings

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import ranvier as rv

STEPS, BATCH = 5, 4
NETS = {
    "linear": lambda: rv.Sequential(
        rv.Linear(8, 6), rv.LIF(threshold=0.3, learn=("beta", "threshold")), rv.Linear(6, 4), rv.LI(learn="beta")
    ),
    "recurrent": lambda: rv.Sequential(
        rv.Linear(8, 6), rv.Recurrent(rv.ALIF(threshold=0.3, learn="beta"), 6), nn.Linear(6, 4), rv.LI()
    ),
    "pictures": lambda: rv.Sequential(
        nn.Conv2d(1, 4, 3), rv.LIF(threshold=0.3, learn="beta", shape=(4, 1, 1)), nn.MaxPool2d(2), nn.Flatten(),
        rv.Linear(4, 4), rv.LI(),
    ),
    "parallel": lambda: nn.Sequential(
        nn.Linear(8, 6), rv.AssociativeLIF(), nn.Linear(6, 4), rv.ElementwiseRecurrent(rv.LIF(threshold=0.3)), rv.LI()
    ),
}  # fmt: skip


def given(name: str, share: slice) -> torch.Tensor:
    features = (1, 4, 4) if name == "pictures" else (8,)
    x = torch.rand(STEPS, BATCH, *features, generator=torch.Generator().manual_seed(1))
    return (2 * x)[:, share]


def train(net, name: str, share: slice) -> None:
    """A few steps of plain descent on the mean over samples."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(given(name, share)).square().mean().backward()
        optimizer.step()


def net_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETS[name]()


def ddp(rank: int, name: str) -> dict:
    net = nn.parallel.DistributedDataParallel(net_of(name))
    train(net, name, slice(2 * rank, 2 * rank + 2))
    return net.module.state_dict()


def fsdp(rank: int, name: str) -> dict:
    from torch.distributed.fsdp import fully_shard

    net = net_of(name)
    mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
    for layer in net:
        if any(True for _ in layer.parameters()):
            fully_shard(layer, mesh=mesh)
    fully_shard(net, mesh=mesh)
    train(net, name, slice(2 * rank, 2 * rank + 2))
    return {k: v.full_tensor() if hasattr(v, "full_tensor") else v for k, v in net.state_dict().items()}


def work(rank: int, way: str, names: list[str], port: int) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for name in names:
        try:
            found = {"ddp": ddp, "fsdp": fsdp}[way](rank, name)
            alone = copy.deepcopy(net_of(name))
            train(alone, name, slice(None))
            off = max(
                ((found[k] - v).abs().max() / v.abs().max().clamp_min(1e-3)).item()
                for k, v in alone.state_dict().items()
                if v.numel()
            )
            said = "right" if off <= 1e-6 else f"off by {off:.2g}"
        except Exception as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        if rank == 0:
            print(f"{name}: {said}", flush=True)
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(work, (sys.argv[1], list(NETS), int(sys.argv[2])), nprocs=2)

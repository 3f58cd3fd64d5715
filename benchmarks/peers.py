"""Other libraries, each in an environment of its own below .peers: `python benchmarks/peers.py [NAME ...]` makes them.

Those on PyTorch see the torch of the environment that runs this file, so all are measured on the same one; their own
pins of torch are not asked (`--no-deps`).
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HOME = Path(__file__).parents[1] / ".peers"
PEERS: dict[str, list[str]] = {
    "spikingjelly": ["--no-deps", "spikingjelly", "loguru", "tqdm", "einops"],
    "snntorch": ["--no-deps", "snntorch"],
    "norse": ["--no-deps", "norse", "nir", "nirtorch"],
    "sinabs": ["--no-deps", "sinabs", "nir", "nirtorch", "pbr"],
    "rockpool": ["--no-deps", "rockpool"],
    "bindsnet": ["--no-deps", "bindsnet", "scipy"],
    "pytorch_spiking": ["--no-deps", "pytorch-spiking"],
    "pysnn": ["--no-deps", "pysnn"],
    "spyx": ["spyx"],  # on JAX: it brings all it needs
    "jaxpike": ["jaxpike"],  # the same
}


def python(name: str) -> Path:
    """The interpreter of a peer's environment."""
    return HOME / name / "bin" / "python"


def make(name: str) -> None:
    """Make a peer's environment, if it is not there."""
    if python(name).exists():
        return
    venv.create(HOME / name, with_pip=True)
    if "--no-deps" in PEERS[name]:
        code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        own = subprocess.run([python(name), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
        (Path(own) / "zz_torch.pth").write_text(sysconfig.get_paths()["purelib"])
    pip = [str(python(name)), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *PEERS[name]], check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or PEERS:
        make(name)
        print(name, python(name))

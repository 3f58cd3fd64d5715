"""The names and signatures of other libraries, so that people move by changing one import. No maths lives here."""

import importlib
import pkgutil
import sys
import types

PACKAGES = {
    "spikingjelly": "spikingjelly",
    "hxtorch": "hxtorch",
    "dlens_vx_v3": "dlens_vx_v3",
    "pytorch_spiking": "pytorch_spiking",
    "spyx": "spyx",
    "pysnn": "pysnn",
    "snntorch": "snntorch",
    "norse": "norse",
    "sinabs": "sinabs",
}
"""Names of other libraries -> the package here that has theirs."""


def install(name: str) -> types.ModuleType:
    """Let `import name` find Ranvier's package of that name, for programs that cannot be edited. Returns the package.

    It affects this process from now on. An unknown name, or a library that was itself imported before, raises a
    ValueError.

    >>> from ranvier import compat
    >>> _ = compat.install("spikingjelly")
    >>> from spikingjelly.activation_based import neuron
    >>> neuron.LIFNode.__module__
    'ranvier.compat.spikingjelly.activation_based.neuron.leaky'
    """
    if name not in PACKAGES:
        raise ValueError(f"install: there are names of {sorted(PACKAGES)} here, got {name!r}")
    own = f"{__name__}.{PACKAGES[name]}"
    package = importlib.import_module(own)
    if sys.modules.get(name) not in (None, package):
        raise ValueError(f"install: {name} itself is imported already; call install before the first import of it")
    for found in pkgutil.walk_packages(getattr(package, "__path__", []), own + "."):
        importlib.import_module(found.name)
    for known in [k for k in sys.modules if k == own or k.startswith(own + ".")]:
        sys.modules[name + known.removeprefix(own)] = sys.modules[known]
    return package

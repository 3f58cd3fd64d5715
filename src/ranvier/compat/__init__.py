"""Modules with the names and signatures of other libraries: to move a program to Ranvier, change its imports.

The neurons of these libraries are rules here, so that Ranvier's kernels run them.
"""

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
"""Name of a library -> the package here that has its names."""


def install(name: str) -> types.ModuleType:
    """Make `import name` import Ranvier's package of that name, for programs that cannot be edited.

    Returns the package. The effect lasts until this process ends. An unknown name raises a ValueError, and so does a
    library that was imported before this call.

    >>> from ranvier import compat
    >>> _ = compat.install("spikingjelly")
    >>> from spikingjelly.activation_based import neuron
    >>> neuron.LIFNode.__module__
    'ranvier.compat.spikingjelly.activation_based.neuron.leaky'
    """
    if name not in PACKAGES:
        raise ValueError(f"install: the name must be one of {sorted(PACKAGES)}, got {name!r}")
    own = f"{__name__}.{PACKAGES[name]}"
    package = importlib.import_module(own)
    if sys.modules.get(name) not in (None, package):
        raise ValueError(f"install: {name} itself is imported already; call install before the first import of it")
    for found in pkgutil.walk_packages(getattr(package, "__path__", []), own + "."):
        importlib.import_module(found.name)
    for known in [k for k in sys.modules if k == own or k.startswith(own + ".")]:
        sys.modules[name + known.removeprefix(own)] = sys.modules[known]
    return package

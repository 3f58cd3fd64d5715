"""Checkpoints of snnTorch, PySNN, Norse and pytorch-spiking: `python checkpoints_stepwise.py LIBRARY WRITE [READ]`.

LIBRARY is the package there, or the one here. It builds every layer that has parameters, loads what READ holds for it
strictly, runs it on the input there, and writes checkpoint, input and output. It runs in either environment.
"""

import importlib
import sys

import torch


def _snntorch(snn):
    beta, hidden = torch.tensor([0.5, 0.8, 0.9]), {"init_hidden": True}
    learned = {"learn_beta": True, "learn_threshold": True, **hidden}
    return {
        "Leaky": lambda: snn.Leaky(beta=beta, **learned),
        "Leaky plain": lambda: snn.Leaky(beta=0.9, **hidden),
        "Synaptic": lambda: snn.Synaptic(alpha=0.7, beta=beta, learn_alpha=True, **learned),
        "Alpha": lambda: snn.Alpha(alpha=0.8, beta=0.6, reset_mechanism="zero", **learned),
        "Lapicque": lambda: snn.Lapicque(beta=0.8, **learned),
        "RLeaky": lambda: snn.RLeaky(beta=0.8, V=0.5, all_to_all=False, learn_recurrent=True, **hidden),
        "RLeaky all to all": lambda: snn.RLeaky(beta=0.8, linear_features=3, **hidden),
        "RSynaptic": lambda: snn.RSynaptic(alpha=0.7, beta=0.8, linear_features=3, **hidden),
        "LeakyParallel": lambda: snn.LeakyParallel(input_size=3, hidden_size=4, beta=0.7),
    }


def _pysnn(pysnn):
    connection, neuron = (importlib.import_module(f"{pysnn.__name__}.{n}") for n in ("connection", "neuron"))
    cells, leak = (2, 1, 3), (0.9, 0.1, 1.0, 0.8, 1, 3, 0.7, 0.6)
    return {
        "Input": lambda: neuron.Input(cells, 1, 0.7, 0.9),
        "Linear": lambda: connection.Linear(3, 4, 2, 1, 0),
        "Linear delayed": lambda: connection.Linear(3, 4, 2, 1, 2),
        "IFNeuron": lambda: neuron.IFNeuron(cells, *leak[:6], 0.6, store_trace=True),
        "LIFNeuron": lambda: neuron.LIFNeuron(cells, *leak),
        "LIFNeuron exponential": lambda: neuron.LIFNeuron(cells, *leak[:6], 1.5, 2.0, "exponential"),
        "AdaptiveLIFNeuron": lambda: neuron.AdaptiveLIFNeuron(cells, *leak, 0.2, 0.9),
        "FedeNeuron": lambda: neuron.FedeNeuron(cells, *leak[:6], 1.5, 2.0),
        "Conv2d": lambda: connection.Conv2d(1, 2, 2, (2, 3), 2, 1, 0),
    }


def _norse(norse):
    torch_ = importlib.import_module(f"{norse.__name__}.torch")
    return {
        "LIFRecurrentCell": lambda: torch_.LIFRecurrentCell(3, 4),
        "LIFRecurrent": lambda: torch_.LIFRecurrent(3, 4),
        "LSNNRecurrentCell": lambda: torch_.LSNNRecurrentCell(3, 4),
        "LILinearCell": lambda: torch_.LILinearCell(3, 4),
    }


def _pytorch_spiking(ps):
    return {"Lowpass": lambda: ps.Lowpass(0.1, 3, dt=0.02, initial_level=torch.rand(1, 3))}


CASES = {"snntorch": _snntorch, "pysnn": _pysnn, "norse": _norse, "pytorch_spiking": _pytorch_spiking}
WHOLE = ("LeakyParallel", "LIFRecurrent", "Lowpass")  # they take a sequence


def cases(library):
    return CASES[library.rpartition(".")[2]](importlib.import_module(library))


def _run(name, module, x):
    x = 20 * x if library_of(module) == "norse" else x  # so that they spike
    if name in WHOLE:
        return _first(module(x))
    if "Linear" in name and library_of(module) == "pysnn":
        spikes = (x > 0.5).float().unsqueeze(2)
        spikes[1:] *= module.delay_init is None  # delayed, only lone spikes arrive there as they should
        return torch.stack([_first(module(x_t, x_t)) for x_t in spikes])
    if name == "Conv2d":  # the original puts potentials at wrong places: the sum over all of them is what is compared
        spikes = (x[:, :, None, None, :] > torch.tensor([0.5, 1.5]).view(1, 1, 1, 2, 1)).float()
        return torch.stack([_first(module(x_t, x_t)).sum((2, 3, 4)) for x_t in spikes])
    if name == "FedeNeuron":
        x = x.unsqueeze(2).unsqueeze(-1)
        return torch.stack([module(x_t, 0.1 * x_t)[1].clone() for x_t in x])
    if library_of(module) == "pysnn":
        x = x.unsqueeze(2) if name == "Input" else x.unsqueeze(2).unsqueeze(-1)
        return torch.stack([module(x_t)[1].clone() for x_t in x])
    state, steps = None, []
    for x_t in x:
        y = module(x_t) if library_of(module) == "snntorch" else module(x_t, state)
        state = y[1] if isinstance(y, tuple) else None
        steps.append(_first(y))
    return torch.stack(steps)


def library_of(module):
    return next(n for n in CASES if n in type(module).__module__.split("."))


def _first(y):
    return y[0] if isinstance(y, tuple) else y


def run(library, given):
    found = {}
    for name, make in cases(library).items():
        torch.manual_seed(1)
        module = make()
        if name in given:
            module.load_state_dict(given[name]["state"])
        x = given[name]["x"] if name in given else 2 * torch.rand(6, 2, 3)
        state = {k: v.clone() for k, v in module.state_dict().items()}
        found[name] = {"state": state, "x": x, "y": _run(name, module, x).detach().float()}
    return found


if __name__ == "__main__":
    torch.save(run(sys.argv[1], torch.load(sys.argv[3]) if len(sys.argv) > 3 else {}), sys.argv[2])

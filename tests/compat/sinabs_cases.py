"""Layers of Sinabs with several spikes a step: `python sinabs_cases.py LIBRARY` prints what each gives, as JSON."""

import importlib
import json
import sys

import torch


def cases(library):
    sl, sa = (importlib.import_module(f"{library}.{n}") for n in ("layers", "activation"))
    both = {"tau_mem": 5.0, "tau_syn": 3.0}
    return {
        "IAF": lambda: sl.IAF(),
        "IAF single": lambda: sl.IAF(spike_fn=sa.SingleSpike),
        "IAF reset": lambda: sl.IAF(reset_fn=sa.MembraneReset()),
        "IAF low": lambda: sl.IAF(min_v_mem=-1.0),
        "IAF most": lambda: sl.IAF(spike_fn=sa.MaxSpike(2)),
        "IAF threshold": lambda: sl.IAF(spike_threshold=torch.tensor(0.5)),
        "IAF synapse": lambda: sl.IAF(tau_syn=3.0),
        "IAF subtract": lambda: sl.IAF(reset_fn=sa.MembraneSubtract(0.7)),
        "IAF width": lambda: sl.IAF(surrogate_grad_fn=sa.SingleExponential(1.0, 2.0)),
        "LIF": lambda: sl.LIF(tau_mem=5.0),
        "LIF synapse": lambda: sl.LIF(**both),
        "LIF plain": lambda: sl.LIF(tau_mem=5.0, norm_input=False),
        "LIF both": lambda: sl.LIF(**both, norm_input=False, min_v_mem=-1.0),
        "LIF each": lambda: sl.LIF(tau_mem=torch.tensor([2.0, 3.0])),
        "LIF alphas": lambda: sl.LIF(**both, train_alphas=True),
        "LIF reset": lambda: sl.LIF(tau_mem=5.0, norm_input=False, reset_fn=sa.MembraneReset()),
        "ExpLeak": lambda: sl.ExpLeak(tau_mem=5.0),
        "ExpLeak normed": lambda: sl.ExpLeak(tau_mem=5.0, norm_input=True),
        "ExpLeak low": lambda: sl.ExpLeak(tau_mem=5.0, min_v_mem=-0.5),
        "ExpLeak alphas": lambda: sl.ExpLeak(tau_mem=5.0, train_alphas=True),
    }


def run(make):
    """Two sequences one after the other, the second from where the first ended; gradients of the first."""
    torch.manual_seed(0)
    layer, x = make(), (3 * torch.randn(2, 7, 2)).requires_grad_()
    y = layer(x)
    learned = {n: p for n, p in layer.named_parameters() if p.requires_grad}
    weight = torch.arange(y.numel()).float().cos().reshape(y.shape)
    grads = torch.autograd.grad((y * weight).sum(), [x, *learned.values()])
    found = {"y": y, "y2": layer(x), "keys": list(layer.state_dict()), "x": grads[0]}
    found |= dict(zip(learned, grads[1:], strict=True))
    return {k: v.tolist() if isinstance(v, torch.Tensor) else v for k, v in found.items()}


if __name__ == "__main__":
    print(json.dumps({name: run(make) for name, make in cases(sys.argv[1]).items()}))

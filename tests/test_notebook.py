"""What is printed in a shell is a table in a notebook."""

import torch

import ranvier
from ranvier.doctor import diagnose
from ranvier.train.energy import energy


def test_results_show_themselves():
    net = ranvier.Sequential(torch.nn.Linear(3, 4), ranvier.LIF(threshold=9.0), torch.nn.Linear(4, 2), ranvier.LI())
    x = torch.rand(6, 2, 3)
    gradients = ranvier.compare_gradients(net, x, lambda y: y.square().mean(), gradients=("bptt", "drtrl"))
    assert "<th>cosine, drtrl</th>" in gradients._repr_html_() and "<td>0.weight</td>" in gradients._repr_html_()
    shown = {
        ranvier.explain(net, x): "<td>LIF</td>",
        ranvier.saved_memory(net, x): "together</p>",
        diagnose(net, x): "<th>what helps</th>",
        diagnose(ranvier.Sequential(ranvier.LIF()), x): "no problem was found",
        energy(net, x): "<th>spiking nJ</th>",
    }
    for result, part in shown.items():
        page = result._repr_html_()
        assert part in page and page.count("<table>") == page.count("</table>") >= 1

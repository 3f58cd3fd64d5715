"""Mistakes: strict type checkers flag every line that ends with `wrong`, and no other."""

import torch
from right import Bursting

import ranvier as rv

x = torch.rand(5, 2, 3)
lif = rv.LIF()
net = rv.Sequential(rv.Linear(3, 4), lif)

rv.Lif()  # wrong
rv.LIF(wrong=1.0)  # wrong
rv.LIF(0.9)  # wrong
rv.LIF(beta="x")  # wrong
rv.LIF(reset="sub")  # wrong
rv.LIF(learn=("betta",))  # wrong
rv.nn.ALIF(learn="betta")  # wrong
rv.LIF(surrogate="atan")  # wrong
rv.LIF(shape="large")  # wrong
print(lif.v)  # wrong
lif.reset = "substract"  # wrong
lif.beta = "slow"  # wrong
Bursting(bta=0.9)  # wrong
Bursting(learn=("bta",))  # wrong
rv.ParametricLIF(learn=("tua",))  # wrong
rv.ResonateAndFire(omga=1.0)  # wrong
rv.TimedLIF(gradient="exact")  # wrong
rv.Linear(3)  # wrong
rv.Recurrent(rv.LIF())  # wrong
rv.scan(net)  # wrong
rv.step(net, x[0], 3)  # wrong

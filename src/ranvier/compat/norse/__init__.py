"""Norse's names, as in its `norse.torch`.

>>> import torch
>>> from ranvier.compat.norse import torch as norse
>>> net = norse.SequentialState(torch.nn.Linear(3, 4), norse.LIFCell(), torch.nn.Linear(4, 2), norse.LICell())
>>> y, state = net(torch.rand(5, 3))
>>> y.shape, [type(s).__name__ for s in state]
(torch.Size([5, 2]), ['NoneType', 'LIFFeedForwardState', 'NoneType', 'LIState'])
"""

from ranvier.compat.norse import torch

__all__ = ["torch"]

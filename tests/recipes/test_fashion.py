import torch
from torch.nn import functional

from ranvier.recipes import FashionMNIST
from ranvier.recipes.fashion import moved


def test_images_move_by_whole_pixels():
    x, generator = torch.rand(40, 2, 5, 4), torch.Generator().manual_seed(0)
    padded = functional.pad(x, [1] * 4)
    for image, before in zip(moved(x, 1, generator), padded, strict=True):
        assert any(torch.equal(image, before[:, a : a + 5, b : b + 4]) for a in range(3) for b in range(3))
    assert torch.equal(moved(x, 0, generator), x)


def test_only_clothes_are_mirrored():
    x = torch.arange(28.0).expand(60, 1, 28, 28)
    for data, mirrored in (("fashion-mnist", True), ("mnist", False)):
        out = FashionMNIST(data=data, shift=0).augment(x, torch.Generator().manual_seed(0))
        assert bool((out == x.flip(-1)).flatten(1).all(1).any()) == mirrored
        assert bool((out == x).flatten(1).all(1).any())

"""snnTorch's plots, drawn by matplotlib."""

from typing import Any

from torch import Tensor


def raster(data: Tensor, ax: Any, **kwargs: Any) -> None:
    """Draw a dot for every spike of data [T, N] on the axes `ax`; kwargs are passed to `scatter`."""
    if data.dim() != 2:
        raise ValueError(f"raster: data must be [T, N], got {tuple(data.shape)}")
    steps, neurons = data.detach().cpu().nonzero(as_tuple=True)
    ax.scatter(steps.numpy(), neurons.numpy(), **kwargs)


def traces(
    data: Tensor, spk: Tensor | None = None, dim: tuple[int, int] = (3, 3), spk_height: float = 5, titles: Any = None
) -> None:
    """Plot each membrane of data [T, N] in its own axes. Where spk [T, N] is 1, spk_height is added to the membrane."""
    from matplotlib import pyplot

    rows, columns = dim
    shown = data.detach().cpu()
    shown = shown if spk is None else shown + spk_height * spk.detach().cpu()
    figure, axes = pyplot.subplots(rows, columns, squeeze=False)
    for k, ax in enumerate(axes.flat):
        if k < shown.shape[1]:
            ax.plot(shown[:, k].numpy())
        if titles is not None:
            ax.set_title(titles[k])
    figure.tight_layout()

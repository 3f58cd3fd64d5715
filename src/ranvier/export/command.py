"""The command `ranvier export`: it writes a file and checks that the file computes the same as the network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ranvier.convert.nir import check, save, to_nir
from ranvier.export.onnx_file import onnx
from ranvier.export.program import c
from ranvier.export.traced import pt2
from ranvier.extras import needed
from ranvier.nn.padded import Padded, ends


@dataclass(frozen=True)
class Options:
    """Settings of an export. bits: bits per weight in C; step: export one step to ONNX or pt2; dt, approximate:
    arguments of `to_nir`.
    """

    bits: int = 8
    step: bool = False
    dt: float = 1e-4
    approximate: bool = False


def write(net: nn.Module, sample: Tensor, to: str, path: Path | None, options: Options) -> tuple[Path, str]:
    """Write a trained network as `to`, one of WRITERS. Return the path of the file, and the result of a check on
    `sample` [T, B, *features]. Of a `Padded` network the network in it is written, which reads recordings without
    padding.
    """
    if to not in WRITERS:
        raise ValueError(f"--to takes {', '.join(WRITERS)}, got {to!r}")
    path = Path(f"net.{to}") if path is None else path
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    if not isinstance(sample, Tensor):
        raise TypeError(
            f"a network of timed spikes cannot be exported: its input is a {type(sample).__name__}, no tensor"
        )
    if isinstance(net, Padded):  # a file reads recordings without padding
        lengths = ends(net, sample)
        net, sample = net.net, sample if lengths is None else sample[: int(lengths.min())]
    return path, WRITERS[to](net.eval(), sample, path, options)


def _nir(net: nn.Module, sample: Tensor, path: Path, options: Options) -> str:
    graph = to_nir(net, sample, options.dt, approximate=options.approximate)
    save(path, graph)
    told = (getattr(graph, "metadata", None) or {}).get("approximations")
    notes = "".join(f"\nchanged: {note}" for note in str(told).splitlines()) if told else ""
    return f"{check(net, str(path), sample)}{notes}"


def _onnx(net: nn.Module, sample: Tensor, path: Path, options: Options) -> str:
    made = onnx(net, sample, step=options.step)
    made.save(path)
    with needed("a check of the file"):
        import onnxruntime
    session = onnxruntime.InferenceSession(str(path))

    def run(*given: Tensor) -> tuple[Tensor, ...]:
        inputs = dict(zip(made.inputs, (v.numpy() for v in given), strict=True))
        return tuple(map(torch.from_numpy, session.run(None, inputs)))

    return _compared(net, sample, run, made.initial(sample.shape[1]), options.step)


def _pt2(net: nn.Module, sample: Tensor, path: Path, options: Options) -> str:
    made = pt2(net, sample, step=options.step)
    made.save(path)
    run = torch.export.load(path).module()
    return _compared(net, sample, run, made.initial(sample.shape[1]), options.step)


def _compared(
    net: nn.Module, x: Tensor, run: Callable[..., tuple[Tensor, ...]], state: dict[str, Tensor], step: bool
) -> str:
    """Compare the output of a file with the output of the network. Return the result as a sentence."""
    with torch.no_grad():
        wanted = net(x)
        if not step:
            (found,) = run(x)
        else:
            held, rows = tuple(state.values()), []
            for x_t in x:
                y, *held = run(x_t, *held)
                rows.append(y)
            found = torch.stack(rows)
    apart = float((found - wanted).abs().max())
    return f"{len(x)} steps of {x.shape[1]} samples: the file's output is within {apart:.2g} of the network's"


def _c(net: nn.Module, sample: Tensor, path: Path, options: Options) -> str:
    program = c(net, sample, bits=options.bits, name=path.stem.replace("-", "_").replace(".", "_"))
    program.save(path)
    with torch.no_grad():
        wanted = net(sample).sum(0)
    same = (program(sample).sum(0).argmax(-1) == wanted.argmax(-1)).float().mean()
    return f"{program.report(sample)}\nlargest output as in floating point: {float(same):.1%} of {len(wanted)} samples"


WRITERS: dict[str, Callable[[nn.Module, Tensor, Path, Options], str]] = {
    "nir": _nir,
    "onnx": _onnx,
    "pt2": _pt2,
    "c": _c,
}

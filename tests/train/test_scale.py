"""Longer, larger, in several processes: the engine's settings change how a run is computed, not what it learns."""

import os
import signal

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from test_engine import Tiny, same, split, whole  # noqa: F401  # fixtures
from torch import nn

import ranvier as rv
from ranvier.train.engine import fit, new_net
from ranvier.train.folder import Folder
from ranvier.train.truncated import Truncated


def train(split, path, callbacks=(), **scale):  # noqa: F811
    net = new_net(Tiny(), split.x[:1])
    folder = Folder(path) if path.exists() else Folder.create(path)
    return net, fit(Tiny(), net, split, split, folder, callbacks, **scale), folder


class Stop(Callback):
    """Ends a run by an error, or by the signal to terminate, after so many updates."""

    def __init__(self, after, blow=None):
        self.after, self.blow = after, blow

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.after:
            if not self.blow:
                raise RuntimeError("stop")
            os.kill(os.getpid(), self.blow)


@pytest.mark.parametrize("after", [1, 2, 5, 6, 7, 9, 11, 14])
def test_a_run_goes_on_in_mid_epoch_to_the_same_weights(split, whole, tmp_path, after):  # noqa: F811
    net, rows, _ = whole
    with pytest.raises(RuntimeError, match="stop"):
        train(split, tmp_path / "run", [Stop(after)], keep=1)
    resumed, again, _ = train(split, tmp_path / "run", keep=1)
    assert same(net, resumed)
    for row, other in zip(rows, again, strict=True):  # figures of an epoch are those of all its batches
        assert {k: v for k, v in row.items() if k != "seconds"} == pytest.approx(
            {k: v for k, v in other.items() if k != "seconds"}
        )


def test_told_to_terminate_it_keeps_where_it_is(split, whole, tmp_path):  # noqa: F811
    with pytest.raises(SIGTERMException):
        train(split, tmp_path / "run", [Stop(5, signal.SIGTERM)])
    kept = torch.load(tmp_path / "run" / "checkpoint.ckpt", weights_only=True)
    assert kept["global_step"] == 6 and kept["place"]["next"] == 2
    assert same(whole[0], train(split, tmp_path / "run")[0])


@pytest.mark.parametrize("scale", [{"accumulate": 2}, {"clip": 0.01}, {"tbptt": 2}, {"workers": 1, "profile": True}])
def test_settings_are_heeded(split, whole, tmp_path, scale):  # noqa: F811
    net, rows, folder = train(split, tmp_path / "run", **scale)
    assert len(rows) == 4 and same(net, whole[0]) == ("workers" in scale)
    assert list(folder.path.glob("*profile*")) if scale.get("profile") else True
    kept = torch.load(folder.checkpoint, weights_only=True)
    assert kept["global_step"] == (8 if "accumulate" in scale else 16)


def test_truncated_backpropagation_is_that_of_chunks():
    torch.manual_seed(0)
    net = rv.Sequential(nn.Linear(5, 12), rv.Recurrent(rv.LIF(), 12), nn.Dropout(0.3), nn.Linear(12, 3), rv.LI())
    x, labels = (torch.rand(11, 4, 5) < 0.4).float(), torch.tensor([0, 1, 2, 0])
    loss = rv.loss.integral_crossentropy()

    def gradients():
        found = [p.grad.clone() for p in net.parameters()]
        net.zero_grad()
        return found

    torch.manual_seed(1)
    truncated = Truncated(net, loss, 4)
    traces, value = truncated.forward(x, labels)
    truncated.backward(value * 3)
    by_chunk = gradients()
    torch.manual_seed(1)  # the same by hand: a state cut off between chunks, one loss over all
    state, outputs = None, []
    for chunk in x.split(4):
        y, state = rv.scan(net, chunk, rv.detach(state) if state is not None else None)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs), traces.detach())
    (loss(torch.cat(outputs), labels) * 3).backward()
    for a, b in zip(by_chunk, gradients(), strict=True):
        torch.testing.assert_close(a, b)

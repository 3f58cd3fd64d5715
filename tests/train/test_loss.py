import math

import pytest
import torch

from ranvier.train.loss import integral_crossentropy, mse_spikerate
from ranvier.train.metric import integral_accuracy

MAKERS = [integral_crossentropy, mse_spikerate, integral_accuracy]


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(7, 5, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 2, 3])


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_crossentropy_equals_its_equation(batch, smoothing):
    traces, labels = batch
    logs = torch.log_softmax(traces.sum(0) / 2.0, -1)
    q = torch.eye(4, dtype=torch.float64)[labels] * (1 - smoothing) + smoothing / 4
    loss = integral_crossentropy(smoothing, temperature=2.0)(traces, labels)
    torch.testing.assert_close(loss, -(q * logs).sum(-1).mean())


def test_spikerate_compares_rate_with_rate():
    labels = torch.tensor([1, 0])
    traces = torch.zeros(8, 2, 3)
    traces[:2, 0, 1] = traces[:2, 1, 0] = 1.0  # a rate of 2 / 8 in the right class
    assert mse_spikerate(sparsity=0.25)(traces, labels) == 0
    torch.testing.assert_close(mse_spikerate(sparsity=1.0)(traces, labels), torch.tensor(0.75**2 / 3))
    smooth = mse_spikerate(sparsity=0.25, smoothing=0.3)(traces, labels)
    wanted = (0.25 - 0.25 * 0.8) ** 2 + 2 * (0.25 * 0.1) ** 2
    torch.testing.assert_close(smooth, torch.tensor(wanted / 3))


def test_accuracy_takes_the_first_of_equals():
    traces = torch.zeros(3, 4, 5)
    traces[:, 2, 3] = 1.0
    score, predictions = integral_accuracy()(traces, torch.tensor([0, 1, 3, 0]))
    assert predictions.tolist() == [0, 0, 3, 0] and score.item() == 0.75 and score.dtype == torch.float32


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("axis", [1, -2])
def test_time_may_stand_elsewhere(batch, maker, axis):
    traces, labels = batch
    here, there = maker()(traces, labels), maker(time_axis=axis)(traces.movedim(0, 1), labels)
    torch.testing.assert_close(here, there)


@pytest.mark.parametrize("maker", MAKERS)
def test_padding_does_not_count(batch, maker):
    traces, labels = batch
    lengths = torch.tensor([7, 3, 1, 5, 3])
    garbage = traces.clone()
    for sample, length in enumerate(lengths):
        garbage[length:, sample] = math.nan
    garbage.requires_grad_()
    padded = maker()(garbage, labels, lengths)
    alone = [maker()(traces[:n, i : i + 1], labels[i : i + 1]) for i, n in enumerate(lengths.tolist())]
    if maker is integral_accuracy:
        assert padded[1].tolist() == [p.item() for _, p in alone]
    else:
        torch.testing.assert_close(padded, torch.stack(alone).mean())
        padded.backward()
        assert garbage.grad.isfinite().all()


@pytest.mark.parametrize("maker", MAKERS)
def test_more_batch_axes_are_welcome(maker):
    traces, labels = torch.rand(6, 2, 3, 5), torch.randint(0, 5, (2, 3))
    score = (lambda *args: maker()(*args)[0]) if maker is integral_accuracy else maker()
    torch.testing.assert_close(score(traces, labels), score(traces.flatten(1, 2), labels.flatten()))


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("shape", "labels", "error", "message"),
    [
        ((5,), [0], ValueError, "traces are"),
        ((4, 2, 3), [0], ValueError, r"labels are \[1\], the traces' batch is \[2\]"),
        ((4, 2, 3), [[0, 0, 1], [1, 0, 0]], ValueError, "pass one class for each"),
        ((4, 2, 3), [0, 3], ValueError, r"labels must lie in \[0, 2\] for 3 classes, got 0 to 3"),
        ((4, 2, 3), [-1, 1], ValueError, "got -1 to 1"),
        ((4, 2, 3), [0.0, 1.0], TypeError, "labels must be whole numbers"),
    ],
)
def test_bad_input_is_refused(maker, shape, labels, error, message):
    with pytest.raises(error, match=message):
        maker()(torch.zeros(shape), torch.tensor(labels))


@pytest.mark.parametrize("maker", MAKERS)
def test_bad_axis_and_lengths_are_refused(maker):
    traces, labels = torch.zeros(4, 2, 3), torch.tensor([0, 1])
    for axis in (2, -1, 3, -4):
        with pytest.raises(ValueError, match="time_axis"):
            maker(time_axis=axis)(traces, labels)
    for lengths in ([0, 4], [1, 5]):
        with pytest.raises(ValueError, match=r"lengths must lie in \[1, 4\]"):
            maker()(traces, labels, torch.tensor(lengths))
    with pytest.raises(ValueError, match="pass one for each"):
        maker()(traces, labels, torch.tensor([2]))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="smoothing"):
        integral_crossentropy(smoothing=1.5)
    with pytest.raises(ValueError, match="temperature"):
        integral_crossentropy(temperature=0.0)
    with pytest.raises(ValueError, match="sparsity"):
        mse_spikerate(sparsity=-1.0)


def test_loss_compiles():
    loss = torch.compile(integral_crossentropy(), fullgraph=True, backend="eager")
    assert loss(torch.zeros(3, 2, 4), torch.tensor([0, 1])).item() == pytest.approx(math.log(4))

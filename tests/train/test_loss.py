import dataclasses
import math
import pickle

import pytest
import torch

from ranvier.train.loss import LOSSES, integral_crossentropy, mse_spikerate, van_rossum
from ranvier.train.metric import integral_accuracy
from ranvier.train.torchmetric import IntegralAccuracy

MAKERS = [integral_crossentropy, mse_spikerate, integral_accuracy]
OF_CLASSES = {name: maker for name, maker in LOSSES.items() if maker is not van_rossum}


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
    with pytest.raises(ValueError, match="pass one per sample"):
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


def crossentropy(scores, label, smoothing=0.0):
    wanted = torch.full_like(scores, smoothing / len(scores))
    wanted[label] += 1 - smoothing
    return -(wanted * torch.log_softmax(scores, -1)).sum()


# One sample's loss by its equation: z [T, C], its label, the settings.
BY_HAND = {
    "integral_crossentropy": lambda z, y, smoothing=0.0, temperature=1.0: crossentropy(
        z.sum(0) / temperature, y, smoothing
    ),
    "mean_crossentropy": lambda z, y, smoothing=0.0: crossentropy(z.mean(0), y, smoothing),
    "max_crossentropy": lambda z, y, smoothing=0.0: crossentropy(z.max(0).values, y, smoothing),
    "first_spike_crossentropy": lambda z, y, tau=1.0, smoothing=0.0: crossentropy(
        torch.stack([-torch.tensor([*c.tolist(), 1.0]).argmax() / tau for c in z.T]).to(z.dtype), y, smoothing
    ),
    "temporal_crossentropy": lambda z, y, share=0.05, aim=1.0, smoothing=0.0: torch.stack(
        [(1 - share) * crossentropy(row, y, smoothing) + share * (row - aim).square().mean() for row in z]
    ).mean(),
    "mse_spikerate": lambda z, y, sparsity=0.25, smoothing=0.0: (
        (z.mean(0) - sparsity * ((1 - smoothing) * torch.eye(z.shape[1])[y] + smoothing / z.shape[1])).square().mean()
    ),
}
SETTINGS = {
    "smoothing": 0.3, "temperature": 2.5, "tau": 3.0, "share": 0.4, "aim": -0.7, "sparsity": 0.6,
}  # fmt: skip
EVERY = [(name, key) for name in OF_CLASSES for key in SETTINGS if hasattr(OF_CLASSES[name](), key)]


def spikes(name):
    torch.manual_seed(1)
    z = torch.rand(7, 5, 4, dtype=torch.float64)
    return (z < 0.3).double() if name in ("first_spike_crossentropy", "mse_spikerate") else 2 * z - 1


@pytest.mark.parametrize(("name", "key"), [(name, None) for name in OF_CLASSES] + EVERY)
def test_every_setting_does_what_its_equation_says(name, key):
    z, labels, lengths = spikes(name), torch.tensor([0, 3, 1, 2, 3]), torch.tensor([7, 3, 1, 5, 4])
    settings = {} if key is None else {key: SETTINGS[key]}
    loss, by_hand = OF_CLASSES[name](**settings), BY_HAND[name]
    whole = torch.stack([by_hand(z[:, b], labels[b], **settings) for b in range(5)])
    torch.testing.assert_close(loss(z, labels), whole.mean())
    cut = torch.stack([by_hand(z[:n, b], labels[b], **settings) for b, n in enumerate(lengths)])
    if name != "first_spike_crossentropy":  # there T stays the time of no spike
        torch.testing.assert_close(loss(z, labels, lengths), cut.mean())
    weights = torch.tensor([1.0, 0.0, 3.0, 0.5], dtype=torch.float64)
    weighted = OF_CLASSES[name](**settings, weights=weights.tolist())
    torch.testing.assert_close(weighted(z, labels), (whole * weights[labels]).sum() / weights[labels].sum())
    some = torch.tensor([0, -7, 1, -7, 3])
    ignoring = OF_CLASSES[name](**settings, ignore_index=-7)
    torch.testing.assert_close(ignoring(z, some), whole[some >= 0].mean())
    both = OF_CLASSES[name](**settings, weights=weights, ignore_index=-7)
    torch.testing.assert_close(both(z, some), (whole[0] + 0.5 * whole[4]) / 1.5)


@pytest.mark.parametrize("name", OF_CLASSES)
def test_ignored_samples_train_nothing(name):
    z, none = spikes(name).requires_grad_(), torch.full((5,), 9)
    loss = OF_CLASSES[name](ignore_index=9)
    value = loss(z, none)
    value.backward()
    assert value == 0 and not z.grad.any()
    loss(z, torch.tensor([9, 9, 2, 9, 9])).backward()
    assert z.grad[:, 2].any() and not z.grad[:, [0, 1, 3, 4]].any()


def test_without_smoothing_weights_are_those_of_torch(batch):
    traces, labels = batch
    weights = torch.tensor([1.0, 2.0, 0.5, 4.0], dtype=torch.float64)
    torch.testing.assert_close(
        integral_crossentropy(weights=weights)(traces, labels),
        torch.nn.functional.cross_entropy(traces.sum(0), labels, weights),
    )


def test_accuracy_weighs_and_ignores():
    traces = torch.eye(3)[None, [0, 1, 2, 0]]  # answers 0, 1, 2, 0
    labels, weights = torch.tensor([0, 1, 0, 2]), [1.0, 3.0, 0.5]
    score = integral_accuracy(weights=weights)(traces, labels)[0]
    torch.testing.assert_close(score, torch.tensor(4.0 / 5.5))
    score, answers = integral_accuracy(ignore_index=2)(traces, labels)
    torch.testing.assert_close(score, torch.tensor(2 / 3))
    assert answers.tolist() == [0, 1, 2, 0]
    summed = IntegralAccuracy(weights=weights, ignore_index=2)
    for part in (slice(0, 1), slice(1, 4)):
        summed.update(traces[:, part], labels[part])
    torch.testing.assert_close(summed.compute(), torch.tensor(4.0 / 5.0))


def test_spike_trains_by_hand():
    z = torch.zeros(3, 1, 2)
    z[0, 0, 0] = 1.0
    decay = math.exp(-1 / 2.0)
    wanted = (1 + decay**2 + decay**4) / 2.0 / 2  # over tau, a mean over two neurons
    assert van_rossum(tau=2.0)(z, torch.zeros_like(z)).item() == pytest.approx(wanted)
    there = van_rossum(tau=2.0, time_axis=1)(z.movedim(0, 1), torch.zeros_like(z).movedim(0, 1))
    assert there.item() == pytest.approx(wanted)


@pytest.mark.parametrize("score", [*LOSSES.values(), integral_accuracy, IntegralAccuracy], ids=lambda s: s.__name__)
def test_scores_pickle_and_print_themselves(score, batch):
    made = score(time_axis=1)
    again = pickle.loads(pickle.dumps(made))
    if score is not IntegralAccuracy:
        assert repr(again) == repr(made) and "time_axis=1" in repr(made)
    other = batch[0].movedim(0, 1) if score is van_rossum else batch[1]
    args = (batch[0].movedim(0, 1), other)
    torch.testing.assert_close(again(*args), made(*args))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weights": [1.0, 2.0]}, ValueError, "there are 2 weights for 4 classes"),
        ({"weights": [1.0, -2.0, 1.0, 1.0]}, ValueError, "one finite number >= 0"),
        ({"weights": [0.0, 0.0]}, ValueError, "not all 0"),
        ({"weights": "balanced"}, TypeError, "one number per class, got 'balanced'"),
        ({"ignore_index": 1}, ValueError, "labels must lie in"),
    ],
)
def test_bad_weights_are_refused(batch, settings, error, message):
    with pytest.raises(error, match=message):
        integral_crossentropy(**settings)(batch[0], torch.tensor([0, 3, 1, 2, 7]))


@pytest.mark.parametrize("name", [*LOSSES, "integral_accuracy"])
def test_a_maker_that_is_called_like_a_loss_says_so(name, batch):
    with pytest.raises(TypeError, match=rf"{name}\(\)\(traces, labels\)"):
        LOSSES.get(name, integral_accuracy)(*batch)


@pytest.mark.parametrize("name", LOSSES)
def test_every_setting_of_every_loss_is_pinned(name):
    fields = {f.name for f in dataclasses.fields(LOSSES[name])}
    assert fields <= {*SETTINGS, "time_axis", "weights", "ignore_index"}, "write its equation and a value to SETTINGS"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_the_precision_of_its_traces_and_any_time_axis(name, dtype):
    z, lengths = spikes("mse_spikerate").to(dtype), torch.tensor([7, 3, 1, 5, 4])
    y = z.roll(1, 1) if name == "van_rossum" else torch.tensor([0, 3, 1, 2, 3])
    there = y.movedim(0, 1) if name == "van_rossum" else y
    leaf = z.clone().requires_grad_()
    loss = LOSSES[name]()(leaf, y, lengths)
    loss.backward()
    assert loss.dtype == dtype and loss.ndim == 0 and leaf.grad.dtype == dtype and leaf.grad.isfinite().all()
    assert not leaf.grad[3:, 1].any()  # what lies behind the end of a recording
    torch.testing.assert_close(LOSSES[name](time_axis=1)(z.movedim(0, 1), there, lengths), loss.detach())

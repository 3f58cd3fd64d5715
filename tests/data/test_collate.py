"""Batches by torch's own DataLoader: time first, in workers too, and recordings of different length."""

import pickle

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from ranvier import data


class Spoken(Dataset):
    """Recordings of 2, 3, 4, ... steps."""

    def __len__(self):
        return 6

    def __getitem__(self, k):
        if k >= len(self):
            raise IndexError(k)
        return data.VariableSample(torch.full((k + 2, 3), float(k)), torch.tensor(k % 2))


def packed(n=10, steps=13):
    return data.Packed((torch.rand(n, steps, 2, 3) < 0.3).float(), torch.arange(n))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_of_packed_spikes(workers):
    whole = packed()
    found = list(DataLoader(whole, 4, num_workers=workers, multiprocessing_context="spawn" if workers else None))
    assert [x.shape for x, _ in found] == [(13, 4, 2, 3), (13, 4, 2, 3), (13, 2, 2, 3)]
    for (x, labels), which in zip(found, torch.arange(10).split(4), strict=True):
        assert torch.equal(x, whole[which][0]) and torch.equal(labels, which)


def test_packed_is_a_dataset():
    whole = packed()
    x, label = whole[3]
    assert isinstance(whole[3], data.Sample) and x.shape == (13, 2, 3) and label == 3
    assert torch.equal(x, whole[torch.tensor([3])][0][:, 0]) and torch.equal(whole[-1][0], whole[9][0])
    assert len(list(whole)) == 10
    again = pickle.loads(pickle.dumps(whole))
    assert torch.equal(again[:][0], whole[:][0])
    ((x, labels),) = DataLoader(ConcatDataset([Subset(whole, [1, 2]), whole]), 12)
    assert x.shape == (13, 12, 2, 3) and labels.tolist() == [1, 2, *range(10)]
    with pytest.raises(IndexError):
        whole[10]


@pytest.mark.parametrize("workers", [0, 1])
def test_recordings_of_different_length(workers):
    found = list(DataLoader(Spoken(), 4, num_workers=workers))
    x, labels, lengths = found[0]
    assert x.shape == (5, 4, 3) and lengths.tolist() == [2, 3, 4, 5] and labels.tolist() == [0, 1, 0, 1]
    for b, length in enumerate(lengths):
        assert (x[:length, b] == b).all() and (x[length:, b] == 0).all()
    assert found[1][0].shape == (7, 2, 3)


def test_collate_takes_pairs_of_any_kind():
    sparse = torch.zeros(3, 2)
    sparse[1, 1] = 1
    x, labels, lengths = data.collate([(sparse.to_sparse(), 4), (torch.ones(2, 2).numpy(), torch.tensor(5))])
    assert x[:, 0].tolist() == sparse.tolist() and labels.tolist() == [4, 5] and lengths.tolist() == [3, 2]
    traces = torch.zeros(3, 2, 6, requires_grad=True)  # padded steps count in no loss
    from ranvier.train import loss

    loss.mean_crossentropy()(traces, labels, lengths).backward()
    assert traces.grad[2, 1].abs().sum() == 0 and traces.grad[2, 0].abs().sum() > 0


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match=r"recording 1 is \[2, 4\]"):
        data.pad([torch.ones(2, 3), torch.ones(2, 4)])
    with pytest.raises(ValueError, match="T >= 1"):
        data.pad([torch.ones(2, 3), torch.ones(0, 3)])
    with pytest.raises(ValueError, match="no recording"):
        data.pad([])
    one, two = (data.Sample(torch.ones(t, 1), torch.tensor(0)) for t in (2, 3))
    with pytest.raises(ValueError, match="give VariableSample"):
        list(DataLoader([one, two], 2))

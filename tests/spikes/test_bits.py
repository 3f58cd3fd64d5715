"""Bits are the spikes they were packed from."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranvier.spikes import bits


@given(
    rows=st.sampled_from([0, 1, 63, 65, 200]),
    columns=st.sampled_from([1, 7, 63, 64, 65, 300]),
    share=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 99),
)
def test_packed_and_taken_out_again(rows, columns, share, seed):
    x = (torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) < share).float()
    words = bits.pack(x)
    assert words.shape == (rows, -(-columns // 64)) and words.dtype == torch.int64
    assert torch.equal(bits.unpack(words, columns), x)
    assert bits.count(words) == int(x.sum())
    assert torch.equal(bits.unpack(bits.transpose(words, columns), rows), x.t()) or rows == 0


def test_whether_bits_say_all():
    assert bits.packed(torch.tensor([[0.0, 1.0, 1.0]])).spikes
    assert not bits.packed(torch.tensor([[0.0, 1.0, -1.0]])).spikes
    assert bits.packed(torch.tensor([[0.0, 2.5]])).events == 1


def test_bits_of_another_width():
    with pytest.raises(ValueError, match="65 columns are int64 with 2 words a row"):
        bits.unpack(torch.zeros(3, 1, dtype=torch.int64), 65)

"""The judge of kernels is judged: it sees a wrong spike, and lets one pass that rounding explains."""

import judging
import pytest

import ranvier as rv
from ranvier.backends import triton_backend


def spoilt(monkeypatch, change):
    """The forward kernel with its outputs and final state changed."""
    forward = triton_backend.forward_marked

    def wrong(*given):
        outputs, final, marks = forward(*given)
        change(outputs[0], final)
        return outputs, final, marks

    monkeypatch.setattr(triton_backend, "forward_marked", wrong)


def test_a_right_kernel_is_right():
    said = judging.scan(judging.case(rv.ALIF(), 20, 33))
    assert not said.problem and not said.moved and said.error < 1e-6


@pytest.mark.parametrize("what", ["spike", "state"])
def test_a_wrong_number_is_seen(monkeypatch, what):
    def change(z, final):
        if what == "spike":
            z[11, 5] = 1 - z[11, 5]
        else:
            final[0, 5] += 1.0

    spoilt(monkeypatch, change)
    assert judging.scan(judging.case(rv.LIF(), 20, 33)).problem


def test_a_spike_within_rounding_of_the_threshold_may_move(monkeypatch):
    rule, (x,), initial, *others = judging.case(rv.LIF(beta=0.5), 8, 33)
    initial.zero_()
    x[:, 5] = 0.0
    x[3, 5] = 1.0 - 2**-23
    spoilt(monkeypatch, lambda z, final: z[3, 5].fill_(1.0))
    said = judging.scan((rule, [x], initial, *others))
    assert said.moved == 1 and 0 < said.farthest < 4 and not said.problem

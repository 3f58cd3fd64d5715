"""Filters answer as their equations say."""

import pytest
import torch

import ranvier as rv


@pytest.mark.parametrize("backend", ["reference", "numba", pytest.param("triton", marks=pytest.mark.slow)])
@pytest.mark.parametrize("tau", [1.0, 5.0])
def test_slow_filters_answer_a_step_as_their_equations_say(tau, backend):
    """A time constant of thousands of steps, in single precision."""
    t = torch.arange(1, 301) * 1e-3 / tau
    x = torch.ones(300, 1, 1)
    with rv.backend(backend):
        alpha, lowpass = rv.Alpha(tau=tau, dt=1e-3)(x), rv.Lowpass(tau=tau, dt=1e-3)(x)
    wanted = (1 - (1 + t.double()) * torch.exp(-t.double())).float()
    torch.testing.assert_close(alpha.flatten()[50:], wanted[50:], rtol=5e-4, atol=1e-6)
    torch.testing.assert_close(lowpass.flatten(), -torch.expm1(-t), rtol=1e-4, atol=1e-6)

"""What every test runs under."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # the GPU kernels run on the CPU here; read when Triton is first imported

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ranvier", deadline=None, max_examples=8, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("ranvier")


def pytest_collection_modifyitems(items):
    """Training takes its time, more of it where other programs run."""
    for item in items:
        if (item.get_closest_marker("slow") or item.get_closest_marker("long")) and not item.get_closest_marker(
            "timeout"
        ):
            item.add_marker(pytest.mark.timeout(1500))


@pytest.fixture(autouse=True)
def _same_seed():
    torch.manual_seed(0)


@pytest.fixture
def poisoned():
    """torch.empty is full of NaN: whatever a kernel leaves unwritten is seen."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)

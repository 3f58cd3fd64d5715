"""The size of a core's cache is what the system tells, or a usual one."""

import pytest

from ranvier.backends import caches


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Return a function that makes the system tell about a cache of this level, size and list of processors."""
    monkeypatch.setattr(caches, "_SYSTEM", tmp_path)

    def tell(**files: str) -> int:
        for name, text in files.items():
            (tmp_path / "index2").mkdir(exist_ok=True)
            (tmp_path / "index2" / name).write_text(text + "\n")
        return caches.core_cache.__wrapped__()

    return tell


@pytest.mark.parametrize("shared, cores", [("3", 1), ("0-1", 2), ("0,4", 2), ("0-1,4-5", 4)])
def test_the_share_of_a_core(told, shared, cores):
    assert told(level="2", size="1024K", shared_cpu_list=shared) == 1024 * 1024 // cores


@pytest.mark.parametrize("files", [{}, {"level": "3"}, {"level": "2"}, {"level": "2", "size": "much"}])
def test_a_usual_size_where_the_system_does_not_tell(told, files):
    assert told(**files) == caches.USUAL

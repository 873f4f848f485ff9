from __future__ import annotations

import pytest

from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore


@pytest.fixture
def memory():
    return MemoryStore()


@pytest.fixture
def store(memory):
    return FaultyStore(memory)

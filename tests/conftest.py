"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest


@pytest.fixture(scope="session")
def uncaptured(pytestconfig: pytest.Config) -> Callable[[], AbstractContextManager[None]]:
    """Show what is printed in the block: the progress of a cluster that comes up is worth seeing."""
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")
    return manager.global_and_fixture_disabled if manager is not None else nullcontext

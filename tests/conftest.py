"""Fixtures for all tests: the service as a process of its own, and a FHIR server that it may call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.listener import Listener, listening
from support.service import Service, running


@pytest.fixture(scope="session")
def listener() -> Iterator[Listener]:
    """A FHIR server outside the service, on the list of those that it may call."""
    with listening() as started:
        yield started


@pytest.fixture(scope="session")
def service(listener: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service in demo mode on a free port, with a throwaway database; stopped at the end."""
    with running(tmp_path_factory.mktemp("service"), "--allow-fhir", listener.base) as started:
        yield started

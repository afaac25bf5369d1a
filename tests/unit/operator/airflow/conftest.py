"""Fixtures: an Airflow (fake, or the real one of the environment) and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mlpipeline_operator.airflow import AirflowClient
from tests.support.fake_airflow import FakeAirflow
from tests.unit.operator.airflow.site import Site, open_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        yield opened


@pytest.fixture
async def client(site: Site) -> AsyncIterator[AirflowClient]:
    opened = site.client()
    yield opened
    await opened.close()


@pytest.fixture
async def fake() -> AsyncIterator[FakeAirflow]:
    """A fake Airflow, whatever the environment names: for what a real one cannot be made to do."""
    async with FakeAirflow() as airflow:
        yield airflow


@pytest.fixture
async def fake_client(fake: FakeAirflow) -> AsyncIterator[AirflowClient]:
    opened = AirflowClient(fake.url, fake.username, fake.password, timeout=60)
    yield opened
    await opened.close()

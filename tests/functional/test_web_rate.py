"""The rate limit of a client is what was agreed, however many workers there are and however it connects."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.functional.deployment import Deployment, hook_request
from tests.functional.test_web_respawn import replace, workers

MANY = 60


def statuses(site: Deployment, calls: int, **headers: str) -> list[int]:
    return [site.call("north", hook_request(), headers=headers).status_code for _ in range(calls)]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_one_connection_gets_all_of_it_and_many_get_no_more(count: int, tmp_path: Path) -> None:
    site = Deployment(tmp_path, {"CDS_WORKERS": str(count)})
    site.add("north", "--rate-limit", str(MANY))
    site.start()
    try:
        began = time.monotonic()
        assert statuses(site, MANY) == [200] * MANY  # over one connection that is kept
        later = statuses(site, 20, Connection="close")
        assert later.count(200) <= 1 + (time.monotonic() - began) * MANY / 60  # what has come back since
    finally:
        site.session.close()
        assert site.stop() == 0


def test_a_worker_that_is_replaced_gives_nothing_back(tmp_path: Path) -> None:
    site = Deployment(tmp_path, {"CDS_WORKERS": "2"})
    site.add("north", "--rate-limit", "6")
    site.start()
    try:
        assert statuses(site, 6, Connection="close") == [200] * 6
        replace(site, workers(site)[0])
        assert statuses(site, 6, Connection="close").count(200) <= 3
    finally:
        site.session.close()
        assert site.stop() == 0

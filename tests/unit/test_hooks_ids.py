"""Ids: valid UUIDs, never twice, in threads and after a fork."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

from cds_service.hooks.ids import BATCH, new_id


def test_they_are_random_uuids_of_version_4() -> None:
    for text in (new_id() for _ in range(3 * BATCH)):
        found = UUID(text)
        assert (str(found), found.version, found.variant) == (text, 4, RFC_4122)


def test_threads_never_get_the_same() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = [i for ids in pool.map(lambda _: [new_id() for _ in range(1000)], range(16)) for i in ids]
    assert len(set(found)) == len(found)


def test_a_forked_process_does_not_repeat_its_parents() -> None:
    new_id()  # there is a batch to inherit
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "\n".join(new_id() for _ in range(BATCH)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = set(os.read(read, 1 << 16).decode().split("\n"))
    assert len(theirs) == BATCH
    assert theirs.isdisjoint(new_id() for _ in range(BATCH))

"""The part of the lifecycle suite about a process that can open nothing more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from praisonai_persistence.testing._lifecycle_network import TIMEOUT, NetworkTests
from praisonai_persistence.testing._tiers import one_mode_at_a_time

if TYPE_CHECKING:
    from praisonai_persistence.testing.harness import Spawn
    from praisonai_persistence.testing.spec import Endpoint, StoreSpec

__all__ = ["StarvedTests"]


class StarvedTests(NetworkTests, suite=True):
    """All descriptors are used up."""

    @one_mode_at_a_time
    @pytest.mark.skipif(sys.platform == "win32", reason="a process has no such limit here")
    async def test_l11_no_file_and_no_connection_can_be_opened(
        self, spawn: Spawn, spec: StoreSpec, spec_through: Endpoint | None, mode: str
    ) -> None:
        """A store in use, and one that is used for the first time then: they work, or say so; later both work."""
        # A driver may try to connect until its time is up; the store in use has a connection, and takes its own time.
        new = spec if spec_through is None else spec.with_options(connect_timeout=2 * TIMEOUT)
        body = "praisonai_persistence.testing._lifecycle_bodies:starved"
        child = await spawn(body, opens=new.to_json(), mode=mode)
        child.go()
        findings = await child.result()
        assert not findings, "\n".join(findings)

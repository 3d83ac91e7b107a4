"""The proxy of the conformance kit, by the name that the tests of servers use."""

from __future__ import annotations

from praisonai_persistence.testing.proxy import Proxy

__all__ = ["Proxy"]

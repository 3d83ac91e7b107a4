"""Supabase against the conformance kit, and what the kit does not ask."""

from __future__ import annotations

import engines
import pytest
from lifecycles import Networked

from praisonai_persistence.testing import ConversationStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_supabase:SupabaseConversationStore",
    "async_": "praisonai_persistence_supabase:AsyncSupabaseConversationStore",
}


class TestSupabase(Networked, ConversationStoreSuite):
    backend = "supabase"

    @pytest.fixture
    def spec(self, supabase):
        with supabase.space() as options:
            yield StoreSpec("conversation", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self):
        url = f"supabase://:k3y-s3cret@127.0.0.1:{engines.free_port()}?tls=false"
        return StoreSpec("conversation", **STORES, options={"url": url, "connect_timeout": 1})

    @pytest.fixture
    def server(self, supabase):
        return supabase

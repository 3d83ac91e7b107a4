"""Google Firestore against the conformance kit, and what the kit does not ask."""

from __future__ import annotations

import engines
import pytest

from praisonai_persistence.testing import ConversationStoreSuite, Endpoint, StateStoreSuite, StoreSpec

_PACKAGE = "praisonai_persistence_firestore"


class OnFirestore:
    """What both kinds have in common."""

    backend = "firestore"
    kind: str
    stores: dict[str, str]

    @pytest.fixture
    def spec(self, firestore):
        with firestore.space() as options:
            yield StoreSpec(self.kind, **self.stores, options=options)

    @pytest.fixture
    def unreachable_spec(self):
        at = f"127.0.0.1:{engines.free_port()}"
        options = {"url": "firestore://nowhere", "emulator_host": at, "connect_timeout": 1}
        return StoreSpec(self.kind, **self.stores, options=options)

    @pytest.fixture
    def server(self, firestore):
        return firestore

    @pytest.fixture
    def spec_through(self, spec):
        host, _, port = spec.options["emulator_host"].partition(":")
        return Endpoint(host, int(port), lambda host, port: spec.with_options(emulator_host=f"{host}:{port}"))


class TestFirestoreState(OnFirestore, StateStoreSuite):
    kind = "state"
    stores = {"sync": f"{_PACKAGE}:FirestoreStateStore", "async_": f"{_PACKAGE}:AsyncFirestoreStateStore"}  # noqa: RUF012
    many = 1_100  # a page has 1,000


class TestFirestoreConversations(OnFirestore, ConversationStoreSuite):
    kind = "conversation"
    stores = {  # noqa: RUF012
        "sync": f"{_PACKAGE}:FirestoreConversationStore",
        "async_": f"{_PACKAGE}:AsyncFirestoreConversationStore",
    }

"""``rewrite_session`` of stores without the capability: the default, made of other methods."""

from __future__ import annotations

import uuid

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence.memory import MemoryConversationStore
from praisonai_persistence.testing import StoreSpec
from praisonai_persistence.testing.conversation._rewrites import Rewrites
from praisonai_persistence.testing.harness import StoreSuite


class RewritesSuite(Rewrites, StoreSuite, suite=True):
    """C28 alone."""

    kind = "conversation"


class TestRewritingInParts(RewritesSuite):
    backend = "rewrites_in_parts"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        names = ("cas_engine:InParts", "cas_engine:AsyncInParts")
        return StoreSpec("conversation", sync=names[0], async_=names[1], options={"name": uuid.uuid4().hex})


class Interrupted(MemoryConversationStore):
    """Is interrupted in place of each deletion."""

    capabilities = MemoryConversationStore.capabilities - {"rewrite"}

    def delete_messages(self, session_id, message_ids=None):
        raise KeyboardInterrupt


def test_an_interrupt_loses_no_message_that_is_not_given_again():
    with Interrupted() as store:
        store.create_session(ConversationSession("s"))
        store.add_messages("s", [ConversationMessage(id=name) for name in "ab"])
        with pytest.raises(KeyboardInterrupt):
            store.rewrite_session(
                ConversationSession("s"), [ConversationMessage(id="new")], expected_version=1, remove=["a", "b"]
            )
        assert [message.id for message in store.get_messages("s")] == ["a", "b", "new"]


def test_whatever_can_be_iterated_over_once_is_read_once():
    with Interrupted() as store:
        made = (ConversationMessage(id=name) for name in "ab")
        store.rewrite_session(ConversationSession("s"), made, expected_version=0, remove=iter("a"))
        assert [message.id for message in store.get_messages("s")] == ["a", "b"]

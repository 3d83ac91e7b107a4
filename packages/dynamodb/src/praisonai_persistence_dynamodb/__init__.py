"""State and conversations in DynamoDB: an item a key, an item a message or batch."""

from __future__ import annotations

from typing import Any, ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    AsyncStepStateStore,
    DocumentConversationSteps,
    StepConversationStore,
    StepStateStore,
)
from praisonai_persistence_dynamodb._driver import DynamoDBConversationOptions, DynamoDBDriver, DynamoDBOptions
from praisonai_persistence_dynamodb.engine import DynamoDBEngine
from praisonai_persistence_dynamodb.state import DynamoDBStateSteps

__all__ = [
    "AsyncDynamoDBConversationStore",
    "AsyncDynamoDBStateStore",
    "DynamoDBConversationStore",
    "DynamoDBOptions",
    "DynamoDBStateStore",
]


class _Store(OptionsStore):
    backend: ClassVar[str] = "dynamodb"

    def _parts(self, options: DynamoDBOptions, kind: str, spread: str) -> tuple[DynamoDBEngine, str, DynamoDBDriver]:
        space = f"{options.table_prefix}{kind}"
        engine = DynamoDBEngine(options.table_name, options.where, options.timeout, f"{space}/{spread}/")
        return engine, space, DynamoDBDriver(options, engine, asynchronous=self._asynchronous)


class _SyncStore:
    """The check of answers ends with the store."""

    _runner: Any

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        self._runner.driver.give_back()


class _StateStore(_Store):
    options_class = DynamoDBOptions
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})

    def _make(self, options: DynamoDBOptions) -> tuple[DynamoDBStateSteps, DynamoDBDriver]:
        engine, space, driver = self._parts(options, "state", "keys")
        return DynamoDBStateSteps(engine, space), driver


class DynamoDBStateStore(_StateStore, _SyncStore, StepStateStore):
    """State in DynamoDB, on ``boto3``."""


class AsyncDynamoDBStateStore(_StateStore, AsyncStepStateStore):
    """State in DynamoDB, on ``aiobotocore``."""

    _asynchronous = True


class _ConversationStore(_Store):
    options_class = DynamoDBConversationOptions
    capabilities: frozenset[str] = frozenset(
        {"atomic_batch", "durable", "fork", "prefix", "rewrite", "search", "shared"}
    )

    def _make(self, options: DynamoDBOptions) -> tuple[DocumentConversationSteps, DynamoDBDriver]:
        engine, space, driver = self._parts(options, "conversation", "sessions")
        return DocumentConversationSteps(engine, space), driver


class DynamoDBConversationStore(_ConversationStore, _SyncStore, StepConversationStore):
    """Conversations in DynamoDB, on ``boto3``."""


class AsyncDynamoDBConversationStore(_ConversationStore, AsyncStepConversationStore):
    """Conversations in DynamoDB, on ``aiobotocore``."""

    _asynchronous = True

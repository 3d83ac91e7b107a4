"""State in DynamoDB: an item a key."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepStateStore, StepStateStore
from praisonai_persistence_dynamodb._driver import DynamoDBDriver, DynamoDBOptions
from praisonai_persistence_dynamodb.engine import DynamoDBEngine
from praisonai_persistence_dynamodb.state import DynamoDBStateSteps

__all__ = ["AsyncDynamoDBStateStore", "DynamoDBOptions", "DynamoDBStateStore"]


class _Store(OptionsStore):
    options_class = DynamoDBOptions
    backend: ClassVar[str] = "dynamodb"
    capabilities: ClassVar[frozenset[str]] = frozenset({"durable", "prefix", "shared"})

    def _make(self, options: DynamoDBOptions) -> tuple[DynamoDBStateSteps, DynamoDBDriver]:
        space = f"{options.table_prefix}state"
        engine = DynamoDBEngine(options.table_name, options.where, options.timeout, f"{space}/keys/")
        driver = DynamoDBDriver(options, engine, asynchronous=self._asynchronous)
        return DynamoDBStateSteps(engine, space), driver


class DynamoDBStateStore(_Store, StepStateStore):
    """State in DynamoDB, on ``boto3``."""


class AsyncDynamoDBStateStore(_Store, AsyncStepStateStore):
    """State in DynamoDB, on ``aiobotocore``."""

    _asynchronous = True

"""What SQL backends share: dialect, schema, migrations, the contract's operations as steps, and two runners.

A library: it registers no backend. A backend package brings its dialect's differences and its driver's connections.
"""

from praisonai_persistence_sql.conversation import SQLConversationSteps
from praisonai_persistence_sql.dialect import Dialect
from praisonai_persistence_sql.migrations import Migration, Migrations, MigrationState
from praisonai_persistence_sql.pooling import AsyncLender, Lender
from praisonai_persistence_sql.requests import Alone, Execute, ExecuteMany, Fetch, Request, Snapshot, repeatable
from praisonai_persistence_sql.runners import (
    AsyncConnection,
    AsyncPool,
    AsyncSQLRunner,
    Connection,
    Pool,
    Retry,
    SQLRunner,
)
from praisonai_persistence_sql.state import SQLStateSteps

__all__ = [
    "Alone",
    "AsyncConnection",
    "AsyncLender",
    "AsyncPool",
    "AsyncSQLRunner",
    "Connection",
    "Dialect",
    "Execute",
    "ExecuteMany",
    "Fetch",
    "Lender",
    "Migration",
    "MigrationState",
    "Migrations",
    "Pool",
    "Request",
    "Retry",
    "SQLConversationSteps",
    "SQLRunner",
    "SQLStateSteps",
    "Snapshot",
    "repeatable",
]

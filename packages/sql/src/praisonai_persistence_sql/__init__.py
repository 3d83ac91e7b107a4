"""What SQL backends share: dialect, schema, migrations, the contract's operations as steps, and two runners.

A library: it registers no backend. A backend package brings its dialect's differences and its driver's connections.
Each name is loaded on first use: embedded engines do without pools and asyncio.
"""

from __future__ import annotations

from praisonai_persistence._lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from praisonai_persistence_sql.administration import (
        AsyncConversationSchema,
        AsyncSchema,
        ConversationSchema,
        Schema,
    )
    from praisonai_persistence_sql.adoption import ConversationMigrations
    from praisonai_persistence_sql.appends import AsyncSQLConversationStore
    from praisonai_persistence_sql.async_pooling import AsyncLender, AsyncLoan
    from praisonai_persistence_sql.conversation import SQLConversationSteps
    from praisonai_persistence_sql.dialect import Dialect, LegacySQL
    from praisonai_persistence_sql.failures import PATIENCE, SilentError, Watch
    from praisonai_persistence_sql.migrations import Migration, Migrations
    from praisonai_persistence_sql.pooling import Lender, Loan
    from praisonai_persistence_sql.requests import (
        Alone,
        Execute,
        ExecuteMany,
        Fetch,
        Patiently,
        Request,
        Snapshot,
        Undo,
        repeatable,
    )
    from praisonai_persistence_sql.runners import (
        AsyncConnection,
        AsyncPool,
        AsyncSQLRunner,
        Connection,
        Pool,
        Retry,
        SQLRunner,
    )
    from praisonai_persistence_sql.searching import IndexedConversationSteps
    from praisonai_persistence_sql.server import CONVERSATION_CAPABILITIES, STATE_CAPABILITIES, ServerStore
    from praisonai_persistence_sql.state import SQLStateSteps

_MODULES = {
    "administration": ("AsyncConversationSchema", "AsyncSchema", "ConversationSchema", "Schema"),
    "adoption": ("ConversationMigrations",),
    "appends": ("AsyncSQLConversationStore",),
    "conversation": ("SQLConversationSteps",),
    "dialect": ("Dialect", "LegacySQL"),
    "failures": ("PATIENCE", "SilentError", "Watch"),
    "migrations": ("Migration", "Migrations"),
    "async_pooling": ("AsyncLender", "AsyncLoan"),
    "pooling": ("Lender", "Loan"),
    "requests": ("Alone", "Execute", "ExecuteMany", "Fetch", "Patiently", "Request", "Snapshot", "Undo", "repeatable"),
    "runners": ("AsyncConnection", "AsyncPool", "AsyncSQLRunner", "Connection", "Pool", "Retry", "SQLRunner"),
    "searching": ("IndexedConversationSteps",),
    "server": ("CONVERSATION_CAPABILITIES", "STATE_CAPABILITIES", "ServerStore"),
    "state": ("SQLStateSteps",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CONVERSATION_CAPABILITIES",
    "PATIENCE",
    "STATE_CAPABILITIES",
    "Alone",
    "AsyncConnection",
    "AsyncConversationSchema",
    "AsyncLender",
    "AsyncLoan",
    "AsyncPool",
    "AsyncSQLConversationStore",
    "AsyncSQLRunner",
    "AsyncSchema",
    "Connection",
    "ConversationMigrations",
    "ConversationSchema",
    "Dialect",
    "Execute",
    "ExecuteMany",
    "Fetch",
    "IndexedConversationSteps",
    "LegacySQL",
    "Lender",
    "Loan",
    "Migration",
    "Migrations",
    "Patiently",
    "Pool",
    "Request",
    "Retry",
    "SQLConversationSteps",
    "SQLRunner",
    "SQLStateSteps",
    "Schema",
    "ServerStore",
    "SilentError",
    "Snapshot",
    "Undo",
    "Watch",
    "repeatable",
]

__getattr__, __dir__ = lazy(globals(), _HOMES)

"""Conversations in Supabase, by its API: for those who have a URL and a key, and no password of the database."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import StepConversationStore
from praisonai_persistence_sql import AsyncSQLConversationStore
from praisonai_persistence_supabase._driver import SupabaseDriver, SupabaseOptions
from praisonai_persistence_supabase._schema import schema_script
from praisonai_persistence_supabase._steps import SupabaseConversationSteps

__all__ = ["AsyncSupabaseConversationStore", "SupabaseConversationStore", "SupabaseOptions", "schema_script"]


class _Store(OptionsStore):
    options_class = SupabaseOptions
    backend: ClassVar[str] = "supabase"
    capabilities: frozenset[str] = frozenset({"durable", "fork", "prefix", "rewrite", "search", "shared"})
    _prefix: str

    def _make(self, options: SupabaseOptions) -> tuple[SupabaseConversationSteps, SupabaseDriver]:
        self._prefix = options.table_prefix
        if options.under_policies:
            # The index has words of all messages, and no policy hides them.
            self.capabilities = type(self).capabilities - {"search"}
        steps = SupabaseConversationSteps(
            options.table_prefix, options.max_retries, options.retry_delay, options.timeout
        )
        return steps, SupabaseDriver(options, asynchronous=self._asynchronous)

    def schema_script(self) -> str:
        """Return the SQL that makes the tables and functions of this store; asks nobody."""
        return schema_script(self._prefix)


class SupabaseConversationStore(_Store, StepConversationStore):
    """Conversations in Supabase."""


class AsyncSupabaseConversationStore(_Store, AsyncSQLConversationStore):
    """Conversations in Supabase, for async callers; appends to one session go together while one is under way."""

    _asynchronous = True

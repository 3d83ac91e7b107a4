"""What stores with a schema say of it, and how it is changed.

Stores over tables have three methods beside those of their kind (awaited on async stores), and declare the capability
``schema``:

* ``schema_status() -> SchemaStatus``: where the tables stand; changes nothing.
* ``migrate_schema(target=None, *, dry_run=False) -> SchemaChange``: up to the latest version, or up or down to
  ``target``.
* ``adopt_legacy(prefix=None, *, dry_run=False) -> Adoption | None`` (conversation stores): take over the tables that
  PraisonAI itself wrote; None when there are none.
"""

from __future__ import annotations

from praisonai_persistence._declare import dataclass

__all__ = ["Adoption", "LegacyTables", "SchemaChange", "SchemaStatus"]


@dataclass(frozen=True, slots=True)
class LegacyTables:
    """Tables of PraisonAI itself.

    Attributes:
        prefix: ``praison_``, ``praisonai_``, or that of the store.
        sessions: rows of the sessions table.
        messages: rows of the messages table.
        missing: columns of today's PraisonAI that these tables lack, as ``table.column``.
    """

    prefix: str
    sessions: int
    messages: int
    missing: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """What to say of them where nobody looks into them."""
        return (
            f"there are tables of PraisonAI itself with the prefix {self.prefix!r} ({self.sessions} sessions): "
            f"'praisonai-persistence migrate --adopt' takes them over"
        )


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Where the tables of one component stand.

    Attributes:
        component: ``conversation``, ``state`` or ``knowledge``.
        version: what the database has; 0: nothing yet.
        latest: what this release reads and writes.
        pending: names of the steps between them, in order.
        legacy: PraisonAI's own tables that could be adopted.
    """

    component: str
    version: int
    latest: int
    pending: tuple[str, ...] = ()
    legacy: tuple[LegacyTables, ...] = ()


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What a migration did, or with ``dry_run`` would do.

    Attributes:
        component: ``conversation``, ``state`` or ``knowledge``.
        before: the version before.
        after: the version after.
        statements: in order; empty when there was nothing to do.
        dry_run: whether nothing was changed.
    """

    component: str
    before: int
    after: int
    statements: tuple[str, ...]
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Adoption:
    """What an adoption did, or with ``dry_run`` would do.

    Attributes:
        legacy: what was found.
        sessions: sessions taken over, and those made for messages that had none.
        messages: messages taken over.
        kept_as: the names that the old tables have now.
        dry_run: whether nothing was changed.
    """

    legacy: LegacyTables
    sessions: int
    messages: int
    kept_as: tuple[str, ...] = ()
    dry_run: bool = False

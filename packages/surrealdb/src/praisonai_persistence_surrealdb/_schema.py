"""The tables of a store, which say in a comment what they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Pauses
from praisonai_persistence.errors import (
    BackendError,
    ConnectionFailedError,
    PersistenceError,
    SchemaError,
    StoreNotFoundError,
)

if TYPE_CHECKING:
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_surrealdb._driver import SurrealDriver

__all__ = ["Schema", "define_table", "prepare"]

VERSION = 1
_MARK = "praisonai-persistence"
_GRANTED, _DENIED = "praisonai: granted", "praisonai: denied"


class Schema(NamedTuple):
    """What a store needs in its database.

    Attributes:
        kind: of the store.
        tables: their names.
        more: statements for their indexes.
    """

    kind: str
    tables: tuple[str, ...]
    more: tuple[str, ...] = ()


def define_table(table: str, kind: str) -> str:
    """Return the statement that makes a table."""
    return f"DEFINE TABLE IF NOT EXISTS {table} TYPE NORMAL SCHEMALESS COMMENT '{_MARK} {kind} {VERSION}'"


def prepare(driver: SurrealDriver) -> Steps[None]:
    """See that the tables are there, are ours, and are of this version; make them where they are not.

    Two first writes to a table that nobody has defined would conflict with each other.
    """
    from praisonai_persistence_surrealdb._driver import Query

    schema = driver.schema
    found = yield from _tables(driver)
    if found is None:
        for table in schema.tables:
            yield from _check_rights(driver, table)
        return
    missing = [table for table in schema.tables if table not in found]
    for table in schema.tables:
        if table in found:
            _check(driver, table, str(found[table]))
    if missing:
        if driver.must_exist:
            raise StoreNotFoundError(f"there is no store yet: {driver.where}")
        statements = [define_table(table, schema.kind) for table in schema.tables] + list(schema.more)
        yield from Pauses(driver.timeout).ask(Query("; ".join(statements), {}))
    if driver.is_signed_in:  # roles are the same for all tables
        failed = yield from _try_rights(driver, schema.tables[0])
        if failed is not None and _DENIED not in str(failed.__cause__):
            raise failed
        driver.reads_only = failed is not None


def _tables(driver: SurrealDriver) -> Steps[dict[str, Any] | None]:
    """Return the definitions of the tables by name; None: whoever signed in may not see them."""
    from praisonai_persistence_surrealdb._driver import Query

    look = Query("INFO FOR DB", {})
    try:
        return dict((yield from Pauses(driver.timeout).ask(look))["tables"])
    except ConnectionFailedError:
        if not driver.is_limited:
            raise
        return None
    except BackendError as error:
        text = str(error.__cause__).lower()
        if "does not exist" not in text and "not found" not in text:
            raise
    if driver.must_exist:
        raise StoreNotFoundError(f"there is no store yet: {driver.where}")
    yield Query(driver.make_place, {})
    return dict((yield from Pauses(driver.timeout).ask(look))["tables"])


def _check_rights(driver: SurrealDriver, table: str) -> Steps[None]:
    """See that a user of a record access may do everything in a table."""
    failed = yield from _try_rights(driver, table)
    if failed is not None:
        allowed = define_table(table, driver.schema.kind).replace("IF NOT EXISTS", "OVERWRITE")
        raise SchemaError(
            f"{driver.where}: the permissions of the table {table} do not let this user create, select, update and "
            f"delete records, or it is not there. An owner allows it by: {allowed} PERMISSIONS FOR select, create, "
            f"update, delete WHERE $access = 'NAME'. Afterwards 'praisonai-persistence doctor' tries all of it"
        ) from failed


def _try_rights(driver: SurrealDriver, table: str) -> Steps[PersistenceError | None]:
    """Return what keeps whoever signed in from creating, selecting, updating and deleting records; None: nothing does.

    SurrealDB does nothing, and says nothing, where the permissions of a table, or the role of a user, do not allow a
    statement.
    """
    from praisonai_persistence_surrealdb._driver import Query

    record = f"{table}:[['probe']]"  # no id of ours
    text = (
        f"{{ LET $made = (CREATE {record} RETURN VALUE id); LET $seen = (SELECT VALUE id FROM {record}); "
        f"LET $kept = (UPDATE {record} SET probe = true RETURN VALUE id); "
        f"LET $gone = (DELETE {record} RETURN BEFORE); "
        f"IF [] IN [$made, $seen, $kept, $gone] {{ THROW '{_DENIED}' }}; THROW '{_GRANTED}' }}"  # undoes all
    )
    try:
        yield Query(text, {})
    except PersistenceError as error:
        return None if _GRANTED in str(error.__cause__) else error
    return BackendError(f"{driver.where} has ended a transaction in another way than it was told to")


def _check(driver: SurrealDriver, table: str, definition: str) -> None:
    mark = re.search(rf"COMMENT '{_MARK} (\w+) (\d+)'", definition)
    if mark is None:
        raise SchemaError(
            f"{driver.where}: the table {table} was made by somebody else; give another table_prefix or database, and "
            f"try it with 'praisonai-persistence doctor'"
        )
    if int(mark[2]) > VERSION:
        raise SchemaError(
            f"{driver.where}: the table {table} has version {mark[2]}, and this release reads {VERSION}: "
            f"pip install -U praisonai-persistence-surrealdb"
        )

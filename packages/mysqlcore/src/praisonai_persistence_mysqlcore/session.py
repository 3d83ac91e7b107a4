"""What sync and async stores do with a connection: how it is set up, what is sent, how large that may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pymysql.constants import CLIENT, FIELD_TYPE

from praisonai_persistence.errors import ConfigurationError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence_mysqlcore.settings import Settings

__all__ = ["BEGIN", "Traits", "check_row", "check_statement", "text_decoders"]

BEGIN = "START TRANSACTION"
_SNAPSHOT = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
_MODES = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_PREPARE = (
    # Whatever the server's defaults are. Reads see what is committed when they start: rows are locked where it matters.
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    f"SET SESSION sql_mode = '{_MODES}', time_zone = '+00:00', autocommit = 1",
)
_FACTS = "SELECT @@max_allowed_packet, VERSION()"
_LOCK_WAIT = 50  # seconds: the servers' default of innodb_lock_wait_timeout
_MARGIN = 64  # a packet's head, and BEGIN before the first statement


class Traits:
    """What this server and this connection can. Servers that differ have a subclass.

    Args:
        facts: the answer to the query ``facts``.
        client_flag: what the connection was opened with.

    Attributes:
        prepare: statements that set up a new connection.
        facts: a query about the server; its first column is ``max_allowed_packet``.
        snapshot: statements that begin a transaction whose reads are of one moment.

    Raises:
        ConfigurationError: an injected connection counts rows in a way that this package cannot use.
    """

    __slots__ = ("is_mariadb", "largest", "several")
    prepare: ClassVar[tuple[str, ...]] = _PREPARE
    facts: ClassVar[str] = _FACTS
    snapshot: ClassVar[tuple[str, ...]] = _SNAPSHOT

    def __init__(self, facts: Sequence[Any], client_flag: int) -> None:
        self.largest = int(facts[0]) - _MARGIN
        self.is_mariadb = "mariadb" in str(facts[1]).lower()
        self.several = bool(client_flag & CLIENT.MULTI_STATEMENTS)
        if client_flag & CLIENT.FOUND_ROWS:
            raise ConfigurationError("the injected connections have CLIENT.FOUND_ROWS set: open them without it")

    def limits(self, settings: Settings) -> list[str]:
        """Return the statements that set the server's time limits: it is to give up before the client does."""
        found = []
        if settings.timeout < _LOCK_WAIT:
            found.append(f"SET SESSION innodb_lock_wait_timeout = {max(1, int(settings.timeout * 5 / 6))}")
        seconds = settings.statement_timeout
        if seconds is not None and self.is_mariadb:
            found.append(f"SET SESSION max_statement_time = {seconds:f}")
        elif seconds is not None:
            found.append(f"SET SESSION max_execution_time = {max(1, round(seconds * 1000))}")
        return found


class _Mogrifies(Protocol):
    def mogrify(self, query: str, args: Any = None) -> str: ...


def check_statement(statement: str, largest: int) -> str:
    """Return the statement if the server takes it.

    Raises:
        SerializationError: it is larger than the server's ``max_allowed_packet``.
    """
    if len(statement) * 4 > largest and (size := len(statement.encode())) > largest:
        raise SerializationError(
            f"this write takes a statement of {size} bytes; the server's max_allowed_packet lets {largest} through: "
            f"raise it there, or store less in one value"
        )
    return statement


def check_row(cursor: _Mogrifies, sql: str, row: Sequence[Any], largest: int) -> None:
    """[check_statement][] for a row of many, cheap for all that are small."""
    if sum(len(value) for value in row if isinstance(value, str)) * 8 > largest:
        check_statement(cursor.mogrify(sql, row), largest)


def _text(value: Any) -> Any:
    return value.decode() if type(value) is bytes else value


def text_decoders(decoders: dict[int, Any]) -> dict[int, Any]:
    """Return a driver's decoders, changed so that ids and keys, which are bytes to the server, come back as text."""
    return {**decoders, FIELD_TYPE.VAR_STRING: _text}

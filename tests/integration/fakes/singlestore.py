"""SingleStore's syntax in front of MariaDB: a proxy that translates statements, and refuses what SingleStore refuses.

It speaks MySQL's protocol, as SingleStore does, so the clients are unmodified; what a statement does, MariaDB does.
What it knows of SingleStore is in ``singlestore.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from contextlib import suppress

_WHOLE = 0xFFFFFF  # bytes of a packet that is followed by another one of the same command
_QUERY, _SSL = 3, 0x0800
_VERSION = "8.9.1"
_LARGE = 1_000_000  # bytes: larger statements are data
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)
_CREATE = re.compile(
    r"^(START TRANSACTION;)?CREATE (ROWSTORE )?TABLE (IF NOT EXISTS )?(`[^`]+`) ?\((.*?)\)\s*(AS SELECT .*)?$",
    re.DOTALL,
)
_KEY = re.compile(
    r"(?P<kind>PRIMARY KEY|UNIQUE KEY|SHARD KEY|SORT KEY|VECTOR INDEX|KEY)\s*(?P<name>`[^`]+`|\w+)?\s*"
    r"\((?P<columns>[^()]*)\)(?P<rest>.*)",
    re.DOTALL,
)
_ABSENT = {
    r"\bFOR UPDATE\b": "this fake does not rely on SELECT ... FOR UPDATE",
    r"\bGET_LOCK\(": "FUNCTION GET_LOCK does not exist",
    r"\bLAST_INSERT_ID\([^)]": "LAST_INSERT_ID takes no argument",
    r"\bROW_COUNT\(\)": "FUNCTION ROW_COUNT does not exist",
    r"\bREPEATABLE READ\b|\bSERIALIZABLE\b": "the only isolation level is READ COMMITTED",
    r"\binnodb_": "Unknown system variable",
    r"\bVEC_\w+\(": "FUNCTION VEC_ does not exist",
    r"^RENAME TABLE": "a syntax error",
    r"\bMATCH \([^)]*\) AGAINST": "this fake has no full-text search",
    r"\bREFERENCES\b|\bFOREIGN KEY\b": "Feature 'FOREIGN KEY' is not supported",
}
_VECTOR = r"\(('\[[-+0-9.e,]*\]') :> VECTOR\(\d+\)\)"
_DISTANCE = "VEC_DISTANCE_EUCLIDEAN({0}, {1})"
# Zeros have no cosine there, and their product is 0.
_LENGTHS = " * ".join(
    f"VEC_DISTANCE_EUCLIDEAN({{{number}}}, VEC_FromText(CONCAT('[0', REPEAT(',0', JSON_LENGTH({{2}}) - 1), ']')))"
    for number in (0, 1)
)
_PRODUCT = f"IF({_LENGTHS} = 0, 0, (1 - VEC_DISTANCE_COSINE({{0}}, {{1}})) * {_LENGTHS})"
_PLAIN = {
    "SET SESSION lock_wait_timeout": "SET SESSION innodb_lock_wait_timeout",
    "@@memsql_version": f"'{_VERSION}'",
}


class RefusedError(Exception):
    """What SingleStore answers with an error."""


class Translator:
    """Knows the keys of the tables that were made through it."""

    def __init__(self) -> None:
        self._keys: dict[str, set[str]] = {}

    def translate(self, sql: str) -> str:
        """Return a statement in the words of MariaDB.

        Raises:
            RefusedError: SingleStore would not take it.
        """
        if len(sql) > _LARGE:
            return _vectors(sql)
        bare = _STRING.sub("''", sql)
        for pattern, message in _ABSENT.items():
            if re.search(pattern, bare):
                raise RefusedError(message)
        created = _CREATE.match(sql)
        if created is not None:
            return self._create(*created.groups())
        if re.match(r"(START TRANSACTION;)?CREATE .*TABLE ", bare):
            raise RefusedError(f"a syntax error near {bare[:60]!r}")
        self._check_keys(bare)
        for theirs, ours in _PLAIN.items():
            sql = sql.replace(theirs, ours) if theirs in bare else sql
        return _vectors(sql)

    def _create(
        self, begin: str | None, rowstore: str | None, absent: str | None, table: str, body: str, select: str | None
    ) -> str:
        columns: list[str] = []
        keys: list[tuple[str, list[str], str, str]] = []
        for item in re.findall(r"(?:[^,('\s]|\([^()]*\)|'[^']*'|\s(?!$))+", body.replace(", F32", "").strip()):
            item = item.strip()
            found = _KEY.match(item)
            if found is None:
                columns.append(item)
            else:
                keys.append((found["kind"], _names(found["columns"]), found["rest"], item))
        shard = [names for kind, names, _, _ in keys if kind == "SHARD KEY"]
        if len(shard) > 1:
            raise RefusedError("at most one shard key")
        kept: list[str] = []
        of_keys: set[str] = set()
        for kind, names, rest, item in keys:
            unique = kind in {"PRIMARY KEY", "UNIQUE KEY"}
            if unique:
                of_keys |= set(names)
            if unique and shard and not set(shard[0]) <= set(names):
                raise RefusedError("a unique key must contain all columns of the shard key")
            if not rowstore and kind in {"PRIMARY KEY", "UNIQUE KEY", "KEY"} and "USING HASH" not in rest:
                raise RefusedError("keys of a columnstore table are hash keys, but for one sort key")
            if rowstore and kind in {"SORT KEY", "VECTOR INDEX"}:
                raise RefusedError(f"a rowstore table has no {kind.lower()}")
            if kind == "VECTOR INDEX":
                if '"EUCLIDEAN_DISTANCE"' in rest:  # the others are searched without an index, exactly
                    kept.append(f"VECTOR INDEX ({names[0]}) DISTANCE=euclidean")
                    kept.append("made_here BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY INVISIBLE")
            elif kind == "SORT KEY":
                kept.append(f"KEY ({', '.join(names)})")
            elif kind != "SHARD KEY":
                kept.append(item)
        self._keys[table] = of_keys | set(shard[0] if shard else ())
        return f"{begin or ''}CREATE TABLE {absent or ''}{table} ({', '.join([*columns, *kept])}) {select or ''}"

    def _check_keys(self, bare: str) -> None:
        """Refuse to assign to a column of a key."""
        for table, changes in (
            *re.findall(r"UPDATE (`[^`]+`) SET (.*?)(?: WHERE|;|$)", bare, re.DOTALL),
            *re.findall(r"INSERT INTO (`[^`]+`).* ON DUPLICATE KEY UPDATE (.*?)(?:;|$)", bare, re.DOTALL),
        ):
            assigned = set(re.findall(r"(?:^|, )(\w+) = ", changes))
            if wrong := assigned & self._keys.get(table, set()):
                raise RefusedError(f"column {min(wrong)} is part of a key and cannot be updated")


def _vectors(sql: str) -> str:
    """Return a statement with vectors in the words of MariaDB."""

    def rank(found: re.Match[str]) -> str:
        vector = f"VEC_FromText({found[2]})"
        return (_PRODUCT if found[1] == "<*>" else _DISTANCE).format("ranked", vector, found[2])

    sql = re.sub(rf"\branked (<\*>|<->) {_VECTOR}", rank, sql)
    sql = re.sub(_VECTOR, r"VEC_FromText(\1)", sql)
    number = r"JSON_EXTRACT_DOUBLE\(numbers, '([0-9a-f]+)'\)"
    return re.sub(number, r"""CAST(JSON_VALUE(numbers, '$."\1"') AS DOUBLE)""", sql)


def _names(text: str) -> list[str]:
    return [part.split()[0].strip("`") for part in text.split(",") if part.strip()]


class Proxy:
    """Serves clients; each has a connection of its own to MariaDB.

    Args:
        host: of MariaDB.
        port: of MariaDB.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._translator = Translator()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client, until either side is gone."""
        server: asyncio.StreamWriter | None = None
        with suppress(OSError, asyncio.IncompleteReadError):
            answers, server = await asyncio.open_connection(self._host, self._port)
            await self._greet(answers, writer)
            pumps = [
                asyncio.ensure_future(self._ask(reader, server, writer)),
                asyncio.ensure_future(_answer(answers, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        for end in (writer, server):
            if end is not None:
                end.close()

    async def _greet(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass the server's first packet on, without its offer of TLS, which nobody could look into."""
        head, greeting = await _packet(answers)
        if greeting[0] != 0xFF:
            at = greeting.index(0, 1) + 1 + 4 + 8 + 1
            flags = int.from_bytes(greeting[at : at + 2], "little") & ~_SSL
            greeting = greeting[:at] + flags.to_bytes(2, "little") + greeting[at + 2 :]
        writer.write(head + greeting)
        await writer.drain()

    async def _ask(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            head, payload = await _packet(reader)
            if head[3] == 0 and payload[:1] == bytes([_QUERY]):
                part = payload
                while len(part) == _WHOLE:
                    _, part = await _packet(reader)
                    payload += part
                try:
                    sql = self._translator.translate(payload[1:].decode("utf-8", "surrogateescape"))
                except RefusedError as error:
                    message = b"\xff" + (1706).to_bytes(2, "little") + b"#HY000" + str(error).encode()
                    writer.write(len(message).to_bytes(3, "little") + b"\x01" + message)
                    await writer.drain()
                    continue
                payload = bytes([_QUERY]) + sql.encode("utf-8", "surrogateescape")
                for number, start in enumerate(range(0, len(payload) + 1, _WHOLE)):
                    part = payload[start : start + _WHOLE]
                    server.write(len(part).to_bytes(3, "little") + bytes([number % 256]) + part)
            else:
                server.write(head + payload)
            await server.drain()


async def _packet(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(4)
    return head, await reader.readexactly(int.from_bytes(head[:3], "little"))


async def _answer(answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await answers.read(65536):
        writer.write(some)
        await writer.drain()


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mariadb", required=True, help="host:port")
    options = parser.parse_args()
    host, _, port = options.mariadb.rpartition(":")
    server = await asyncio.start_server(Proxy(host, int(port)).serve, "127.0.0.1", options.port, limit=2**25)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())

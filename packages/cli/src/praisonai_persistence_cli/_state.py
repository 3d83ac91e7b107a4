"""``state``: looking at keys, and at what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from praisonai_persistence.globs import compile_glob, literal_prefix
from praisonai_persistence_cli._app import Failed, complain
from praisonai_persistence_cli._keys import entries, held_by
from praisonai_persistence_cli._options import Command, Group, as_json, needed, prefix_option, url_options
from praisonai_persistence_cli._output import document, documents, line, plain, table, to_json
from praisonai_persistence_cli._reading import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from praisonai_persistence.state import StateStore

__all__ = ["state_command"]


@click.group("state", cls=Group)
def state_command() -> None:
    """Look at a state store: its keys, and what they hold.

    To write all of them to a file: export --kind state; to copy them: copy --kind state.
    """


def _state_options(function: Callable[..., Any]) -> Callable[..., Any]:
    return url_options("state")(prefix_option(function))


def _store(url: str | None, prefix: str | None) -> StateStore:
    store: StateStore = needed("state", url, prefix).open(must_exist=True)
    return store


@state_command.command("keys", cls=Command)
@click.argument("pattern", default="*")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="How many at the most. [default: all]")
@click.option("--sizes", is_flag=True, help="Also read what they hold: its kind, its size and its time to live.")
@_state_options
def _keys_command(
    pattern: str, limit: int | None, sizes: bool, state_url: str | None, table_prefix: str | None
) -> None:
    """List the keys that match PATTERN, in no particular order.

    * is any text, ? one character, [a-z] one of these, [!x] one that is not; a backslash takes the next character
    literally. BYTES is the size of the value as JSON in UTF-8.
    """
    with _store(state_url, table_prefix) as store:
        keys = _matching(store, pattern, limit)
        rows = _with_sizes(store, keys) if sizes else ({"key": key} for key in keys)
        if as_json():
            documents({"pattern": pattern}, "keys", rows)
        elif sizes:
            table(
                ("KEY", "TYPE", "TTL", "BYTES"), ((row["key"], row["type"], row["ttl"], row["bytes"]) for row in rows)
            )
        else:
            table(("KEY",), ((row["key"],) for row in rows))


def _matching(store: StateStore, pattern: str, limit: int | None) -> Iterator[str]:
    """Yield keys as they are read: ``keys`` would return all of them at once."""
    matches = compile_glob(pattern).fullmatch
    left = limit
    if left == 0:
        store.connect()
        return
    for key in store.scan_prefix(literal_prefix(pattern)):
        if matches(key):
            yield key
            if left is not None:
                left -= 1
                if not left:
                    return


def _with_sizes(store: StateStore, keys: Iterator[str]) -> Iterator[dict[str, Any]]:
    for some in entries(store, keys):
        for key, (held, ttl) in some.items():
            kind = "hash" if held.is_hash else "value"
            yield {"key": key, "type": kind, "ttl": ttl, "bytes": len(canonical(held.value))}


@state_command.command("get", cls=Command)
@click.argument("key")
@click.option("--field", metavar="NAME", help="Only this field of a hash.")
@_state_options
def _get_command(key: str, field: str | None, state_url: str | None, table_prefix: str | None) -> None:
    """Print what a key holds, as JSON: a text in quotes, a number without; of a hash all its fields."""
    with _store(state_url, table_prefix) as store:
        held = held_by(store, key)
        if held is None:
            raise _no_key(key)
        ttl = store.ttl(key)
    if field is not None and not held.is_hash:
        raise click.UsageError(f"key {key!r} holds a value, not fields: leave out --field")
    if field is not None and field not in held.value:
        complain(f"Error: key {key!r} has no field {field!r}; without --field all of them are shown")
        raise Failed
    value = held.value if field is None else held.value[field]
    if as_json():
        chosen = {} if field is None else {"field": field}
        document({"key": key, **chosen, "type": "hash" if held.is_hash else "value", "ttl": ttl, "value": value})
    else:
        line(to_json(value, indent=2))


@state_command.command("ttl", cls=Command)
@click.argument("key")
@_state_options
def _ttl_command(key: str, state_url: str | None, table_prefix: str | None) -> None:
    """Print how many seconds a key has left."""
    with _store(state_url, table_prefix) as store:
        ttl = store.ttl(key)
        if ttl is None and not store.exists(key):
            raise _no_key(key)
    if as_json():
        document({"key": key, "ttl": ttl})
    else:
        line(f"key {plain(key)} has no time to live" if ttl is None else f"{ttl:.3f}")


def _no_key(key: str) -> Failed:
    complain(f"Error: there is no key {key!r}; 'state keys' lists those that are there")
    return Failed()

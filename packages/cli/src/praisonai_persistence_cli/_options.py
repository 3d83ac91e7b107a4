"""What commands have in common: options, the stores that they name, and times."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

from praisonai_persistence.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.conversation import ConversationStore

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "KINDS",
    "VARIABLES",
    "Command",
    "Target",
    "as_json",
    "configured",
    "conversation_options",
    "conversation_store",
    "filter_options",
    "needed",
    "prefix_option",
    "seconds",
    "url_options",
]

KINDS = ("conversation", "knowledge", "state")
VARIABLES = {kind: f"PRAISON_{kind.upper()}_URL" for kind in KINDS}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


class Command(click.Command):
    """A command that takes ``--debug``, and unless ``prints_data`` is False ``--json``."""

    prints_data = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.prints_data:
            self.params.append(
                click.Option(
                    ["--json", "as_json"],
                    is_flag=True,
                    help="Print one JSON document.",
                    expose_value=False,
                    callback=lambda ctx, _, value: ctx.meta.__setitem__(_JSON, value),
                )
            )
        self.params.append(
            click.Option(["--debug"], is_flag=True, help="Show where an error comes from.", expose_value=False)
        )


_JSON = "praisonai_persistence_cli.json"


def as_json() -> bool:
    """Whether ``--json`` was given."""
    return bool(click.get_current_context().meta.get(_JSON))


def url_options(*kinds: str) -> Callable[[F], F]:
    """Add ``--<kind>-url`` for these kinds."""

    def add(function: F) -> F:
        for kind in reversed(kinds):
            function = click.option(
                f"--{kind}-url", metavar="URL", help=f"The {kind} store. [default: ${VARIABLES[kind]}]"
            )(function)
        return function

    return add


def prefix_option(function: F) -> F:
    """Add ``--table-prefix``."""
    return click.option("--table-prefix", metavar="TEXT", help="The stores' table_prefix. [default: the backend's]")(
        function
    )


def conversation_options(function: F) -> F:
    """Add ``--conversation-url`` and ``--table-prefix``."""
    return url_options("conversation")(prefix_option(function))


def filter_options(function: F) -> F:
    """Add ``--user-id`` and ``--agent-id``."""
    function = click.option("--agent-id", metavar="ID", help="Only sessions of this agent.")(function)
    return click.option("--user-id", metavar="ID", help="Only sessions of this user.")(function)


class Target(NamedTuple):
    """A store that was named, not opened yet.

    Attributes:
        kind: conversation, knowledge or state.
        url: with its secrets.
        prefix: the ``table_prefix``, or None for the backend's own.
    """

    kind: str
    url: str
    prefix: str | None = None

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        from praisonai_persistence.urls import mask

        return mask(self.url)

    def open(self, **options: Any) -> Any:
        """Return the store, for sync callers; nothing is connected yet.

        Raises:
            ConfigurationError: and everything else that ``open_conversation_store`` raises.
        """
        from praisonai_persistence import registry

        if self.prefix is not None:
            options.setdefault("table_prefix", self.prefix)
        openers: dict[str, Callable[..., Any]] = {
            "conversation": registry.open_conversation_store,
            "knowledge": registry.open_knowledge_store,
            "state": registry.open_state_store,
        }
        return openers[self.kind](self.url, "sync", **options)


def configured(kind: str, url: str | None, prefix: str | None = None) -> Target | None:
    """Return the store of an option, else of the environment, else None.

    Raises:
        ConfigurationError: the variable holds no URL.
    """
    if url is None:
        from praisonai_persistence.config import PersistenceConfig

        # One kind at a time: a mistake in the URL of another kind is none of this command's business.
        variable = VARIABLES[kind]
        config = PersistenceConfig.from_env({variable: os.environ.get(variable, "")})
        url = cast("str | None", getattr(config, f"{kind}_url"))
    return None if url is None else Target(kind, url, prefix)


def needed(kind: str, url: str | None, prefix: str | None = None) -> Target:
    """Do the same for a store that the command cannot do without.

    Raises:
        click.UsageError: there is none.
    """
    target = configured(kind, url, prefix)
    if target is None:
        raise click.UsageError(f"no {kind} store: give --{kind}-url, or set {VARIABLES[kind]}")
    return target


def conversation_store(url: str | None, prefix: str | None) -> ConversationStore:
    """Return the conversation store of the options."""
    store: ConversationStore = needed("conversation", url, prefix).open()
    return store


def seconds(text: str, what: str) -> float:
    """Return the seconds of a duration: ``45s``, ``30m``, ``12h``, ``90d``, ``4w``.

    Raises:
        InvalidValueError: it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidValueError(f"{what} must be a number with a unit, like 45s, 30m, 12h, 90d or 4w")
    return float(match[1]) * _UNITS[match[2]]

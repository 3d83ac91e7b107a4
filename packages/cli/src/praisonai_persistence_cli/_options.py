"""What commands have in common: options, the stores that they name, and times."""

from __future__ import annotations

import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

from praisonai_persistence.errors import InvalidValueError, SessionNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.conversation import ConversationStore
    from praisonai_persistence.records import ConversationSession
    from praisonai_persistence.schema import SchemaStatus

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "KINDS",
    "VARIABLES",
    "Command",
    "Group",
    "Target",
    "as_json",
    "by_default",
    "configured",
    "conversation_options",
    "conversation_store",
    "filter_options",
    "known_session",
    "needed",
    "point_out_old",
    "prefix_option",
    "seconds",
    "stdin_is_taken",
    "url_option",
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


class Group(click.Group):
    """A command that has commands of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            raise click.UsageError(f"give one of {', '.join(sorted(self.commands))}", ctx)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from praisonai_persistence_cli._app import check_command

        check_command(args[0], self.commands, f"{self.name} ")
        return super().resolve_command(ctx, args)


_JSON = "praisonai_persistence_cli.json"


def as_json() -> bool:
    """Whether ``--json`` was given."""
    return bool(click.get_current_context().meta.get(_JSON))


def url_options(*kinds: str) -> Callable[[F], F]:
    """Add ``--<kind>-url`` and ``--<kind>-url-file`` for these kinds."""

    def add(function: F) -> F:
        for kind in reversed(kinds):
            own = "" if kind == "knowledge" else ", or the store that db() has"
            text = f"The {kind} store. [default: ${VARIABLES[kind]}{own}]"
            function = url_option(f"--{kind}-url", f"{kind}_url", text)(function)
        return function

    return add


def url_option(name: str, parameter: str, text: str, *, required: bool = False) -> Callable[[F], F]:
    """Add an option for a URL, and ``<name>-file`` for a file that holds it; the function is given the URL.

    Args:
        name: of the option: ``--state-url``.
        parameter: of the function.
        text: what the help says.
        required: whether one of the two has to be given.
    """

    def read(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
        if path is not None and not ctx.resilient_parsing:
            ctx.meta[f"{_FROM_FILE}{parameter}"] = _url_in(path, f"{name}-file")

    def choose(ctx: click.Context, _: click.Parameter, url: str | None) -> str | None:
        held: str | None = ctx.meta.get(f"{_FROM_FILE}{parameter}")
        if url is not None and held is not None:
            raise click.UsageError(f"give either {name} or {name}-file")
        if url is None and held is None and required and not ctx.resilient_parsing:
            raise click.UsageError(f"{name} is missing; {name}-file reads the URL from a file")
        return held if url is None else url

    def add(function: F) -> F:
        function = click.option(
            f"{name}-file",
            f"{parameter}_file",
            metavar="FILE",
            type=click.Path(allow_dash=True),
            help="A file that holds this URL, for one with a password; - is stdin.",
            expose_value=False,
            is_eager=True,  # before the option that it stands in for
            callback=read,
        )(function)
        return click.option(name, parameter, metavar="URL", help=text, callback=choose)(function)

    return add


_FROM_FILE = "praisonai_persistence_cli.url."
_STDIN = "praisonai_persistence_cli.stdin"
_LONGEST = 64 * 1024  # characters of a file with a URL


def stdin_is_taken() -> bool:
    """Whether a URL was read from standard input."""
    return _STDIN in click.get_current_context().meta


def _url_in(path: str, option: str) -> str:
    """Return the URL that a file holds.

    Raises:
        click.UsageError: it cannot be read, or holds no single line.
    """
    if path == "-":
        meta = click.get_current_context().meta
        if _STDIN in meta:
            raise click.UsageError("one URL only can be read from standard input")
        meta[_STDIN] = True
        text = sys.stdin.read(_LONGEST) if sys.stdin else ""
    else:
        try:
            with open(path, encoding="utf-8") as file:
                _warn_if_open_to_others(path, os.fstat(file.fileno()))
                text = file.read(_LONGEST)
        except OSError as error:
            raise click.UsageError(f"{option}: cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{option}: {path} is not text in UTF-8") from error
    lines = text.strip().splitlines()
    if len(lines) != 1:
        where = "standard input" if path == "-" else path
        raise click.UsageError(f"{option}: {where} must hold one URL and nothing else")
    return lines[0]


def _warn_if_open_to_others(path: str, found: os.stat_result) -> None:
    # Not a refusal: containers mount their secrets so, where nobody else is.
    if os.name == "posix" and stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        from praisonai_persistence_cli._app import complain

        complain(f"warning: others can read {path}: chmod 600 {path}")


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
        default: the path of the default store, if it is that; nobody named it.
        layout: of another program that wrote what is there; only read.
    """

    kind: str
    url: str
    prefix: str | None = None
    default: str | None = None
    layout: str | None = None

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        from praisonai_persistence.urls import mask

        return mask(self.url)

    def open(self, **options: Any) -> Any:
        """Return the store, for sync callers; nothing is connected yet.

        Raises:
            ConfigurationError: and everything else that ``open_conversation_store`` raises.
            StoreNotFoundError: it must exist, and is the default one, which does not.
        """
        from praisonai_persistence import registry

        _guard_logs()
        if self.default is not None:
            self._look_for_default(make=not options.get("must_exist"))
        if self.prefix is not None:
            options.setdefault("table_prefix", self.prefix)
        if self.layout is not None:
            from praisonai_persistence.stores.foreign import layout_registry

            options["registry"] = layout_registry(self.layout, self.kind)
        openers: dict[str, Callable[..., Any]] = {
            "conversation": registry.open_conversation_store,
            "knowledge": registry.open_knowledge_store,
            "state": registry.open_state_store,
        }
        return openers[self.kind](self.url, "sync", **options)

    def _look_for_default(self, *, make: bool) -> None:
        from praisonai_persistence._paths import make_private
        from praisonai_persistence.errors import ConfigurationError, StoreNotFoundError

        other = f"another one is named by --{self.kind}-url or {VARIABLES[self.kind]}"
        path = str(self.default)
        if make:
            try:
                make_private(os.path.dirname(path))
            except OSError as error:
                raise ConfigurationError(
                    f"the default store {path} cannot be made ({error.strerror}): {other}"
                ) from error
        elif not os.path.exists(path):
            raise StoreNotFoundError(f"there is no store yet: {path}, the default one, does not exist; {other}")


def _guard_logs() -> None:
    """Have warnings of stores printed as everything else, where nobody has said what becomes of them."""
    import logging

    from praisonai_persistence_cli._app import complain

    class Complaining(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complain(f"{record.levelname.lower()}: {record.getMessage()}")

    logging.lastResort = Complaining(logging.WARNING)


def configured(kind: str, url: str | None, prefix: str | None = None) -> Target | None:
    """Return the store of an option, else of the environment, else None.

    Raises:
        ConfigurationError: the variable holds no URL.
    """
    url = _url_of_environment(kind) if url is None else url
    return None if url is None else Target(kind, url, prefix)


def _url_of_environment(kind: str) -> str | None:
    from praisonai_persistence.config import PersistenceConfig

    # One kind at a time: a mistake in the URL of another kind is none of this command's business.
    names = (VARIABLES[kind], VARIABLES[kind].replace("PRAISON_", "PRAISONAI_"))
    config = PersistenceConfig.from_env({name: os.environ.get(name, "") for name in names})
    return cast("str | None", getattr(config, f"{kind}_url"))


def by_default(kind: str, prefix: str | None = None) -> Target | None:
    """Return the store that ``db()`` has where none is named: of conversations, and of state; of knowledge none.

    State is in the database of the conversations, if that is named and can hold it.
    """
    from praisonai_persistence._sources import default_path, without_variant
    from praisonai_persistence.registry import get_default_registry
    from praisonai_persistence.urls import parse_url, url_text

    if kind == "knowledge":
        return None
    url = _url_of_environment("conversation")
    if url is not None:
        url = without_variant(url)
        found = get_default_registry(kind).has(parse_url(url).scheme)
        return Target(kind, url, prefix) if found else None
    try:
        path = default_path()
    except RuntimeError:  # no home directory
        return None
    return Target(kind, url_text(path), prefix, str(path))


def needed(kind: str, url: str | None, prefix: str | None = None) -> Target:
    """Return the store of an option, else of the environment, else the default one.

    Raises:
        click.UsageError: there is none.
    """
    target = configured(kind, url, prefix) or by_default(kind, prefix)
    if target is None:
        raise click.UsageError(f"no {kind} store: give --{kind}-url, or set {VARIABLES[kind]}")
    return target


def conversation_store(url: str | None, prefix: str | None, *, must_exist: bool = True) -> ConversationStore:
    """Return the conversation store of the options; by default one that makes nothing where nothing is."""
    store: ConversationStore = needed("conversation", url, prefix).open(must_exist=must_exist)
    return store


def known_session(store: ConversationStore, session_id: str) -> ConversationSession:
    """Return a session that has to be there.

    Raises:
        SessionNotFoundError: it is not.
    """
    session = store.get_session(session_id)
    if session is None:
        point_out_old(store)
        raise SessionNotFoundError(f"there is no session {session_id!r}; 'sessions' lists those that are there")
    return session


def point_out_old(store: ConversationStore) -> None:
    """Say so, on stderr, where a store has no session and tables of PraisonAI itself stand beside it."""
    if "schema" not in store.capabilities or store.list_sessions(limit=1):
        return
    from praisonai_persistence_cli._app import complain

    status: SchemaStatus = cast("Any", store).schema_status()
    for legacy in status.legacy:
        complain(f"note: {legacy.hint}")


def seconds(text: str, what: str) -> float:
    """Return the seconds of a duration: ``45s``, ``30m``, ``12h``, ``90d``, ``4w``.

    Raises:
        InvalidValueError: it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidValueError(f"{what} must be a number with a unit, like 45s, 30m, 12h, 90d or 4w")
    return float(match[1]) * _UNITS[match[2]]

"""``doctor``."""

from __future__ import annotations

import platform
import time
import uuid
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from praisonai_persistence.errors import ConfigurationError, PersistenceError, StoreNotFoundError, WrongTypeError
from praisonai_persistence.payload import check_prefix
from praisonai_persistence_cli._app import Failed, complain, hide
from praisonai_persistence_cli._options import KINDS, Command, Target, as_json, prefix_option, url_options
from praisonai_persistence_cli._output import document, line, table
from praisonai_persistence_cli._reading import message_pages
from praisonai_persistence_cli._schema import BY_HAND, about, named, schema_of, state_of, usable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from praisonai_persistence.conversation import ConversationStore
    from praisonai_persistence.integrity import Integrity
    from praisonai_persistence.knowledge import KnowledgeStore
    from praisonai_persistence.state import StateStore

__all__ = ["doctor_command"]

SCRATCH = "praison_doctor_"
_SAMPLE = 100  # sessions, keys or collections that are read of what is there
_PREFIXES = ("table_prefix", "prefix", "namespace", "collection_prefix")
"""What backends call the option that separates stores."""


class _Wrong(Exception):  # noqa: N818
    """A step that went through, with a result that is not right."""


@click.command("doctor", cls=Command)
@url_options(*KINDS)
@prefix_option
@click.option("--all", "every", is_flag=True, help="Beside those given as options also the stores of the environment.")
@click.option("--scratch-prefix", metavar="TEXT", show_default=SCRATCH, help="Where the checks write.")
@click.option(
    "--check-timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="How long to look through files, and through data, that are there already.",
)
@click.option(
    "--in-place", is_flag=True, help="Write beside the data, with ids of its own, where no other tables can be made."
)
def doctor_command(
    conversation_url: str | None,
    knowledge_url: str | None,
    state_url: str | None,
    table_prefix: str | None,
    every: bool,
    scratch_prefix: str | None,
    check_timeout: float,
    in_place: bool,
) -> None:
    """Check every store by using it: connect, look at what is there, write, read, search, delete.

    What is written stands under a prefix of its own and is deleted again, also when a check fails; empty tables of that
    prefix stay. A store whose tables only its owner can make is checked in place. With URLs only those stores are
    checked, else all that the environment names.
    """
    urls = {"conversation": conversation_url, "knowledge": knowledge_url, "state": state_url}
    if scratch_prefix is not None:
        check_prefix(scratch_prefix, "scratch-prefix")
    targets = named(urls, table_prefix, every=every or not any(urls.values()))
    checks = [_Check(target, scratch_prefix, check_timeout, in_place=in_place).run() for target in targets]
    ok = all(check["ok"] for check in checks)
    installed = _installed()
    if as_json():
        document({"ok": ok, "python": platform.python_version(), "installed": installed, "stores": checks})
    else:
        versions = ", ".join(f"{name} {version}" for name, version in installed.items())
        line(f"Python {platform.python_version()}; {versions}")
        for check in checks:
            line()
            backend = f"{check['backend']} of {check['distribution']} {check['version']}" if check["backend"] else "?"
            line(f"{check['kind']} {check['url']} ({backend})")
            table(("STEP", "RESULT", "MS", "DETAIL"), map(_row, check["steps"]))
    for check in checks:
        for step in check["steps"]:
            if step["result"] == "failed":
                complain(f"Error: {check['kind']}: {step['step']}: {step['detail']}")
    if not ok:
        raise Failed


def _row(step: dict[str, Any]) -> tuple[Any, ...]:
    taken = "" if step["ms"] is None else f"{step['ms']:.1f}"
    return step["step"], step["result"], taken, step["detail"]


def _installed() -> dict[str, str]:
    from importlib.metadata import version

    from praisonai_persistence.registry import get_default_registry

    found = {name: version(name) for name in ("praisonai-persistence", "praisonai-persistence-cli")}
    for kind in KINDS:
        for info in get_default_registry(kind).backends():
            if info.distribution:
                found.setdefault(info.distribution, info.version)
    return dict(sorted(found.items()))


class _Check:
    """The check of one store.

    Args:
        target: the store.
        scratch: the prefix to write under, if somebody has chosen one.
        limit: seconds to look through what is there already, twice: at the files, and at the data.
        in_place: whether to write under the store's own prefix.
    """

    def __init__(self, target: Target, scratch: str | None, limit: float, *, in_place: bool) -> None:
        self._target = target
        self._limit = limit
        self._chosen = scratch is not None
        self._scratch = None if in_place else scratch or SCRATCH
        self._steps: list[dict[str, Any]] = []
        self._schema: dict[str, Any] | None = None

    def run(self) -> dict[str, Any]:
        """Return the result as a document."""
        walk: dict[str, Callable[[Any], None]] = {
            "conversation": self._conversation,
            "knowledge": self._knowledge,
            "state": self._state,
        }
        try:
            if self._target.default is not None:
                self._target.open().close()  # makes its folder; from here on it is a store like others
                self._target = self._target._replace(default=None)
            with self._target.open(must_exist=True) as store:
                if not self._chosen and hasattr(store, "schema_script"):
                    self._scratch = None  # it can make no tables, and nobody made these
                self._own_store(store)
            with self._scratch_store() as store:
                walk[self._target.kind](store)
        except _Ended:
            pass
        except (PersistenceError, OSError) as error:  # from opening or closing a store
            self._add("open", "failed", None, hide(str(error)))
        return {
            "kind": self._target.kind,
            "url": self._target.shown,
            **about(self._target),
            "ok": all(step["result"] != "failed" for step in self._steps),
            "scratch_prefix": self._scratch,
            "schema": self._schema,
            "steps": self._steps,
        }

    def _own_store(self, store: Any) -> None:
        """Connect to the store itself, and look where its tables stand and at what it holds; nothing is made there."""
        if "schema" in store.capabilities:
            # Not connect(), which would raise where there are no tables yet.
            self._schema = self._step("connect", lambda: schema_of(store))
            self._step("schema", self._judge)
        else:
            absent = self._step("connect", lambda: _absent_is_fine(store.connect))
            if absent is None and hasattr(store, "schema_script"):
                self._add("schema", "ok", None, BY_HAND)
            else:
                self._add("schema", "skipped", None, "this backend has no schema")
        if hasattr(store, "check_integrity"):
            self._step("files", lambda: self._files(store))
        sample: dict[str, Callable[[Any, float], str]] = {
            "conversation": _read_sessions,
            "knowledge": _read_collections,
            "state": _read_keys,
        }
        end = time.monotonic() + self._limit
        self._step("data", lambda: _absent_is_fine(lambda: sample[self._target.kind](store, end)))

    def _judge(self) -> str:
        schema = self._schema
        if schema is None:
            return ""
        if not usable(schema, self._target.prefix):
            raise _Wrong(state_of(schema))
        return state_of(schema)

    def _files(self, store: Any) -> str:
        found: Integrity = store.check_integrity(self._limit)
        if found.problems:
            raise _Wrong(f"the files are damaged: {'; '.join(found.problems)}")
        return "" if found.complete else f"nothing found in {self._limit:g} s, which was not enough to look at all"

    def _scratch_store(self) -> Any:
        """Return the store under the scratch prefix, where the backend has prefixes, whatever it calls them."""
        if self._scratch is not None:
            for option in _PREFIXES:
                try:
                    return self._target._replace(prefix=None).open(**{option: self._scratch})
                except ConfigurationError:  # it does not take this option; or the URL is wrong, as is found out below
                    continue
            self._scratch = None
        return self._target.open()

    def _add(self, step: str, result: str, seconds: float | None, detail: str = "") -> None:
        ms = None if seconds is None else round(seconds * 1000, 3)
        self._steps.append({"step": step, "result": result, "ms": ms, "detail": detail})

    def _step(self, name: str, call: Callable[[], Any]) -> Any:
        """Do one step, and take its time; a text that it returns is told.

        Raises:
            _Ended: it failed.
        """
        start = time.perf_counter()
        try:
            answer = call()
        except Exception as error:  # a plugin of others may raise anything
            known = isinstance(error, (_Wrong, PersistenceError))
            detail = hide(" ".join(str(error).split())) if known else type(error).__name__
            self._add(name, "failed", time.perf_counter() - start, detail)
            raise _Ended from error
        self._add(name, "ok", time.perf_counter() - start, answer if isinstance(answer, str) else "")
        return answer

    def _conversation(self, store: ConversationStore) -> None:
        from praisonai_persistence.records import ConversationMessage, ConversationSession

        name = f"doctor-{uuid.uuid4().hex}"
        messages = [ConversationMessage(id=f"{n}", role="user", content=f"{name} {n} \0 \u00e9") for n in range(2)]

        def write() -> None:
            store.create_session(ConversationSession(name, user_id=name))
            store.add_messages(name, messages)

        def read() -> None:
            found = store.get_messages(name, limit=10)
            if [(m.id, m.content, m.seq) for m in found] != [(m.id, m.content, n) for n, m in enumerate(messages, 1)]:
                raise _Wrong("the messages that were written do not come back")

        def search() -> None:
            found = store.search_messages(name.replace("-", " "), user_id=name)
            if {message.id for message in found} != {"0", "1"}:
                raise _Wrong("the search does not find what was written")

        def delete() -> None:
            if not store.delete_session(name) or store.get_session(name) is not None:
                raise _Wrong("the session could not be deleted")

        with _cleaning(lambda: store.delete_session(name)):
            self._step("write", write)
            self._step("read", read)
            if "search" in store.capabilities:
                self._step("search", search)
            else:
                self._add("search", "skipped", None, "this backend has no search")
            self._step("delete", delete)

    def _state(self, store: StateStore) -> None:
        key = f"doctor-{uuid.uuid4().hex}"
        value = {"text": "\0 \u00e9", "number": 1.0}

        def read() -> None:
            if store.get(key) != value or store.ttl(key) is None:
                raise _Wrong("the value that was written does not come back")

        def search() -> None:
            if list(store.scan_prefix(key)) != [key]:
                raise _Wrong("the keys do not list what was written")

        def delete() -> None:
            if not store.delete(key) or store.exists(key):
                raise _Wrong("the key could not be deleted")

        with _cleaning(lambda: store.delete(key)):
            self._step("write", lambda: store.set(key, value, ttl=3600))
            self._step("read", read)
            self._step("search", search)
            self._step("delete", delete)

    def _knowledge(self, store: KnowledgeStore) -> None:
        from praisonai_persistence.records import KnowledgeDocument

        name = f"doctor_{uuid.uuid4().hex}"
        near = KnowledgeDocument("near", "near", [1.0, 0.0, 0.0, 0.0], {"kind": "near"})
        far = KnowledgeDocument("far", "far", [0.0, 1.0, 0.0, 0.0], {"kind": "far"})

        def write() -> None:
            store.create_collection(name, 4)
            store.insert(name, [near, far])

        def read() -> None:
            if [document.content for document in store.get(name, ["far", "near"])] != ["far", "near"]:
                raise _Wrong("the documents that were written do not come back")

        def search() -> None:
            found = store.search(name, [0.9, 0.1, 0.0, 0.0], limit=1, filters={"kind": "near"})
            if [document.id for document in found] != ["near"]:
                raise _Wrong("the search does not find what was written")

        def delete() -> None:
            store.delete_collection(name)
            if store.collection_exists(name):
                raise _Wrong("the collection could not be deleted")

        def clean() -> None:
            if store.collection_exists(name):
                store.delete_collection(name)

        with _cleaning(clean):
            self._step("write", write)
            self._step("read", read)
            self._step("search", search)
            self._step("delete", delete)


def _absent_is_fine(call: Callable[[], str | None]) -> str | None:
    try:
        return call()
    except StoreNotFoundError:
        return "there is no store yet: the first write makes it"


def _read_sessions(store: ConversationStore, end: float) -> str:
    """Read sessions with their messages, the latest session first, until the time is over; say whether it was."""
    sessions, messages = 0, 0
    for session in store.list_sessions(limit=_SAMPLE):
        for page in message_pages(store, session.session_id):
            messages += len(page)
            if time.monotonic() > end:
                return f"{sessions} sessions with {messages} messages read, in which the time was over"
        sessions += 1
    most = f"; no more than {_SAMPLE} sessions are" if sessions == _SAMPLE else ""
    return f"{sessions} sessions with {messages} messages read{most}"


def _read_keys(store: StateStore, end: float) -> str:
    number = 0
    for key in islice(store.scan_prefix(""), _SAMPLE):
        if time.monotonic() > end:
            break
        number += 1
        try:
            store.get(key)
        except WrongTypeError:
            store.hgetall(key)
    return f"{number} keys read"


def _read_collections(store: KnowledgeStore, end: float) -> str:
    names = store.list_collections()[:_SAMPLE]
    for number, name in enumerate(names):
        if time.monotonic() > end:
            return f"{number} collections read"
        info = store.get_collection(name)
        if store.count(name):
            store.search(name, [1.0] + [0.0] * (info.dimension - 1), limit=1)
    return f"{len(names)} collections read"


class _Ended(Exception):  # noqa: N818
    """A step failed, so those behind it make no sense."""


@contextmanager
def _cleaning(clean: Callable[[], object]) -> Iterator[None]:
    """Delete what was written when a step in between fails, or Ctrl-C is pressed."""
    try:
        yield
    except BaseException:
        with suppress(PersistenceError):  # the failure that led here is the one to tell
            clean()
        raise

"""Which stores an application uses, from its environment, a file, or its code."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from praisonai_persistence._arguments import named_arguments
from praisonai_persistence._checks import nearest
from praisonai_persistence.errors import BackendNotInstalledError, ConfigurationError, PersistenceError
from praisonai_persistence.urls import mask, parse_url, scheme_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PersistenceConfig"]

_URLS = ("conversation_url", "knowledge_url", "state_url")
_VARIABLES: dict[str, tuple[str, ...]] = {
    "conversation_store": ("PRAISON_CONVERSATION_STORE", "PRAISONAI_CONVERSATION_STORE"),
    "conversation_url": ("PRAISON_CONVERSATION_URL", "PRAISONAI_CONVERSATION_URL", "POSTGRES_URL"),
    "knowledge_store": ("PRAISON_KNOWLEDGE_STORE", "PRAISONAI_KNOWLEDGE_STORE"),
    "knowledge_url": ("PRAISON_KNOWLEDGE_URL", "PRAISONAI_KNOWLEDGE_URL", "QDRANT_URL"),
    "state_store": ("PRAISON_STATE_STORE", "PRAISONAI_STATE_STORE"),
    "state_url": ("PRAISON_STATE_URL", "PRAISONAI_STATE_URL", "REDIS_URL"),
    "session_id": ("PRAISON_SESSION_ID", "PRAISONAI_SESSION_ID"),
    "user_id": ("PRAISON_USER_ID", "PRAISONAI_USER_ID"),
}


_SAME = {"valkey": "redis", "singlestore": "mysql"}
"""A backend -> the one whose URLs it takes as well."""


def _family(kind: str, name: str) -> str:
    """Return the backend that a name stands for, whatever its variant; one that nobody has here stands for itself."""
    from praisonai_persistence.registry import get_default_registry

    with suppress(PersistenceError):
        name = get_default_registry(kind).canonical(name)
    name = name.removeprefix("async_")
    return _SAME.get(name, name)


def _is_another(kind: str, found: Mapping[str, str], url: str) -> bool:
    """Whether the store that is named for a kind is of another backend than a URL."""
    named = found.get(f"{kind}_store")
    return named is not None and _family(kind, named) != _family(kind, url.partition(":")[0].lower())


def check_backend(kind: str, backend: str, url: str) -> None:
    """Check that a URL is one of a named backend, as far as its scheme says so.

    Raises:
        ConfigurationError: it is one of another backend; the message masks secrets.
    """
    from praisonai_persistence.registry import get_default_registry

    registry = get_default_registry(kind)
    try:
        scheme = parse_url(url).scheme
        known = registry.has(scheme) and registry.has(backend)
    except PersistenceError:  # not a URL: what it is, the backend knows
        return
    if known and _family(kind, backend) != _family(kind, scheme):
        raise ConfigurationError(
            f"{kind}: the backend {backend!r} and the URL {mask(url)!r} contradict each other; give one of them, or "
            f"two of the same kind"
        )


class _NoFileError(ConfigurationError, FileNotFoundError):
    """There is no file where a configuration was to be read; PraisonAI raises the latter."""


@named_arguments
@dataclass(frozen=True, slots=True, repr=False)
class PersistenceConfig:
    """A URL for each kind of store, None for none, and the options of its backend.

    Attributes:
        conversation_url: e.g. ``sqlite:///agent.db``.
        knowledge_url: likewise.
        state_url: likewise.
        conversation_options: keywords for the conversation backend.
        knowledge_options: likewise.
        state_options: likewise.
        conversation_store: the name of the backend, where the URL does not say it, or there is none.
        knowledge_store: likewise.
        state_store: likewise.
        session_id: of the session that an orchestrator starts when it is given none.
        user_id: whose session that is.
        auto_create_tables: False: nothing is made where nothing is; see ``BaseStore.expect_existing``.
        lazy_init: False: ``create_stores_from_config`` connects sync stores at once.
    """

    conversation_url: str | None = None
    knowledge_url: str | None = None
    state_url: str | None = None
    conversation_options: dict[str, Any] = field(default_factory=dict)
    knowledge_options: dict[str, Any] = field(default_factory=dict)
    state_options: dict[str, Any] = field(default_factory=dict)
    conversation_store: str | None = None
    knowledge_store: str | None = None
    state_store: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    auto_create_tables: bool = True
    lazy_init: bool = True

    def __repr__(self) -> str:  # options may hold secrets, so only their names
        parts = [
            f"{name}={None if url is None else mask(url)!r}"
            for name, url in ((name, getattr(self, name)) for name in _URLS)
        ]
        return f"PersistenceConfig({', '.join(parts)})"

    def options(self, kind: str) -> dict[str, Any]:
        """Return the options of a kind's backend, with what ``auto_create_tables`` says."""
        own: dict[str, Any] = getattr(self, f"{kind}_options")
        return own if self.auto_create_tables else {"must_exist": True, **own}

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> PersistenceConfig:
        """Read environment variables; one that is empty is unset.

        For each of ``CONVERSATION_URL``, ``KNOWLEDGE_URL``, ``STATE_URL``, ``CONVERSATION_STORE``, ``KNOWLEDGE_STORE``,
        ``STATE_STORE``, ``SESSION_ID`` and ``USER_ID`` the first one counts that is set: ``PRAISON_...``, then
        ``PRAISONAI_...``, and for the URLs then ``POSTGRES_URL``, ``QDRANT_URL`` and ``REDIS_URL``, unless a store of
        another backend is named.

        Args:
            environ: another mapping than ``os.environ``.

        Raises:
            ConfigurationError: one of them is not a store URL; the message names the variable and masks secrets.
        """
        source = os.environ if environ is None else environ
        found: dict[str, Any] = {}
        for name, variables in _VARIABLES.items():
            for variable in variables:
                value = source.get(variable, "").strip()
                if not value:
                    continue
                if name in _URLS:
                    try:
                        parse_url(value)
                    except ConfigurationError as error:
                        raise ConfigurationError(f"{variable}: {error}") from None
                    if not variable.startswith("PRAISON") and _is_another(name.removesuffix("_url"), found, value):
                        continue
                    if variable == "QDRANT_URL" and scheme_of(value) in (
                        "http",
                        "https",
                    ):  # as Qdrant's own clients take it
                        value = f"qdrant://{value.partition('://')[2].rstrip('/')}"
                        if scheme_of(source[variable].strip()) == "https":
                            found["knowledge_options"] = {"https": True}
                found[name] = value
                break
        return cls(**found)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PersistenceConfig:
        """Build a configuration of the keys that it knows; others are ignored.

        One that is like a key that it knows is told in the log: it is probably misspelt.
        """
        known = {one.name for one in fields(cls)}
        unknown: set[Any] = set(data) - known  # of a file, keys may be anything
        for key in unknown:
            near = nearest(key, known) if isinstance(key, str) else None
            if near is not None:
                logging.getLogger(__name__).warning("the setting %r is not known; did you mean %r?", key, near)
        return cls(**{key: value for key, value in data.items() if key in known})

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> PersistenceConfig:
        """Read a YAML file: an object with these fields, or one that has it under ``persistence``.

        Raises:
            BackendNotInstalledError: PyYAML is not installed.
            ConfigurationError: the file cannot be read, or holds something else. Where there is none, it is also a
                ``FileNotFoundError``.
        """
        try:
            yaml = import_module("yaml")
        except ImportError as error:
            raise BackendNotInstalledError(
                "reading YAML needs PyYAML, which is not installed: pip install pyyaml"
            ) from error
        try:
            with open(path, encoding="utf-8") as file:
                data = yaml.safe_load(file)
        except FileNotFoundError as error:
            raise _NoFileError(f"there is no file {os.fspath(path)!r}") from error
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{os.fspath(path)!r} cannot be read as YAML: {type(error).__name__}") from None
        if isinstance(data, dict) and "persistence" in data:
            data = data["persistence"]
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise ConfigurationError(f"{os.fspath(path)!r} must hold an object, not {type(data).__name__}")
        return cls.from_dict(data)

    def to_dict(self) -> dict[str, Any]:
        """Return every field; the options are copies. It holds the secrets that the URLs and options hold."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}

    def problems(self) -> list[str]:
        """Return what is wrong: names of backends that are not there, URLs that are none; secrets are masked."""
        from praisonai_persistence.errors import PersistenceError
        from praisonai_persistence.registry import get_default_registry

        found: list[str] = []
        for kind in ("conversation", "knowledge", "state"):
            name, url = getattr(self, f"{kind}_store"), getattr(self, f"{kind}_url")
            try:
                if name is not None:
                    get_default_registry(kind).canonical(name)
                if url is not None and name is None:
                    get_default_registry(kind).canonical(parse_url(url).scheme)
            except PersistenceError as error:
                found.append(str(error))
        return found

    def validate(self) -> bool:
        """Whether the backends that it names are there; what is wrong goes to the log as an error.

        Raises:
            ConfigurationError: a store is named, and a URL of another backend.
        """
        for kind in ("conversation", "knowledge", "state"):
            name, url = getattr(self, f"{kind}_store"), getattr(self, f"{kind}_url")
            if name is not None and url is not None:
                check_backend(kind, name, url)
        problems = self.problems()
        for problem in problems:
            logging.getLogger(__name__).error("%s", problem)
        return not problems

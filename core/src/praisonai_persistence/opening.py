"""Opening stores by name, by URL, and by a configuration."""

from __future__ import annotations

from praisonai_persistence._declare import NamedTuple, overload
from praisonai_persistence.errors import ConfigurationError, PersistenceError, UnknownBackendError
from praisonai_persistence.registry import _DEFAULTS, _shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Literal

    from praisonai_persistence.config import PersistenceConfig
    from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore
    from praisonai_persistence.knowledge import AsyncKnowledgeStore, KnowledgeStore
    from praisonai_persistence.registry import StoreRegistry
    from praisonai_persistence.state import AsyncStateStore, StateStore
    from praisonai_persistence.urls import StoreURL

    Mode = Literal["auto", "sync", "async"]

__all__ = [
    "Stores",
    "create_conversation_store",
    "create_knowledge_store",
    "create_state_store",
    "create_stores_from_config",
    "open_conversation_store",
    "open_knowledge_store",
    "open_state_store",
]


def _create(kind: str, backend: str, url: str | None, mode: str, registry: StoreRegistry | None, options: Any) -> Any:
    stores = _stores(kind, registry)
    if mode not in {"auto", "sync", "async"}:
        raise ConfigurationError(f"mode must be 'auto', 'sync' or 'async', not {_shown(mode)}")
    if url is not None:
        options["url"] = url
    must_exist = options.pop("must_exist", False)
    if not isinstance(must_exist, bool):
        raise ConfigurationError("must_exist must be True or False")
    if mode == "auto":
        store = stores._create(backend, options)
    else:
        store = _bridged(stores._create(_in_mode(stores, backend, mode), options), mode)
    if must_exist and hasattr(store, "expect_existing"):  # not of a plugin that goes by method names alone
        store.expect_existing()
    return store


def _stores(kind: str, registry: Any) -> StoreRegistry:
    if registry is None:
        return _DEFAULTS[kind]
    if not hasattr(type(registry), "_create"):
        raise ConfigurationError(f"registry must be a StoreRegistry, not {type(registry).__name__}")
    return registry  # type: ignore[no-any-return]


def _in_mode(stores: StoreRegistry, backend: str, mode: str) -> str:
    """Return the name of the backend's sync or async variant, by the naming rule ``async_<name>``; its own without."""
    name = stores.canonical(backend)
    at = "@" + backend.partition("@")[2] if "@" in backend else ""
    is_async = name.startswith("async_")
    if is_async == (mode == "async"):
        return backend
    other = (name[len("async_") :] if is_async else f"async_{name}") + at
    return other if stores.has(other) else backend


def _bridged(store: Any, mode: str) -> Any:
    """Return the store as the mode wants it: itself, or over the bridge."""
    from praisonai_persistence._store import AsyncStore, SyncStore

    if isinstance(store, SyncStore if mode == "sync" else AsyncStore):
        return store
    if not isinstance(store, SyncStore | AsyncStore):
        return store  # of a plugin that goes by method names alone; what it says it is, is all we know
    from praisonai_persistence.bridge import as_async, as_sync  # here, because asyncio costs more than all else

    bridge: Callable[[Any], Any] = as_sync if mode == "sync" else as_async
    return bridge(store)


@overload
def create_conversation_store(
    backend: str,
    url: str | None = None,
    *,
    mode: Literal["sync"],
    registry: StoreRegistry | None = None,
    **options: Any,
) -> ConversationStore: ...
@overload
def create_conversation_store(
    backend: str,
    url: str | None = None,
    *,
    mode: Literal["async"],
    registry: StoreRegistry | None = None,
    **options: Any,
) -> AsyncConversationStore: ...
@overload
def create_conversation_store(
    backend: str, url: str | None = None, mode: Mode = "auto", *, registry: StoreRegistry | None = None, **options: Any
) -> ConversationStore | AsyncConversationStore: ...
def create_conversation_store(
    backend: str,
    url: str | None = None,
    mode: Mode = "auto",
    *,
    registry: StoreRegistry | None = None,
    **options: Any,
) -> ConversationStore | AsyncConversationStore:
    """Return a new conversation store.

    Args:
        backend: a name or an alias, or ``name@distribution``.
        url: where it stores; what it looks like is the backend's business.
        mode: ``auto`` takes the backend as named; ``sync`` and ``async`` take its variant of that mode, or, where it
            has none, the backend itself behind a bridge (see ``praisonai_persistence.bridge``).
        registry: another than the process-wide one.
        **options: the backend's own; and for every backend ``must_exist=True``: nothing is made where nothing is, and
            calls raise ``StoreNotFoundError`` then (see ``BaseStore.expect_existing``).

    Raises:
        UnknownBackendError: and everything else that [StoreRegistry.create][] raises.
    """
    store: ConversationStore | AsyncConversationStore = _create("conversation", backend, url, mode, registry, options)
    return store


@overload
def create_knowledge_store(
    backend: str,
    url: str | None = None,
    *,
    mode: Literal["sync"],
    registry: StoreRegistry | None = None,
    **options: Any,
) -> KnowledgeStore: ...
@overload
def create_knowledge_store(
    backend: str,
    url: str | None = None,
    *,
    mode: Literal["async"],
    registry: StoreRegistry | None = None,
    **options: Any,
) -> AsyncKnowledgeStore: ...
@overload
def create_knowledge_store(
    backend: str, url: str | None = None, mode: Mode = "auto", *, registry: StoreRegistry | None = None, **options: Any
) -> KnowledgeStore | AsyncKnowledgeStore: ...
def create_knowledge_store(
    backend: str,
    url: str | None = None,
    mode: Mode = "auto",
    *,
    registry: StoreRegistry | None = None,
    **options: Any,
) -> KnowledgeStore | AsyncKnowledgeStore:
    """Return a new knowledge store; see [create_conversation_store][]."""
    store: KnowledgeStore | AsyncKnowledgeStore = _create("knowledge", backend, url, mode, registry, options)
    return store


@overload
def create_state_store(
    backend: str,
    url: str | None = None,
    *,
    mode: Literal["sync"],
    registry: StoreRegistry | None = None,
    **options: Any,
) -> StateStore: ...
@overload
def create_state_store(
    backend: str,
    url: str | None = None,
    *,
    mode: Literal["async"],
    registry: StoreRegistry | None = None,
    **options: Any,
) -> AsyncStateStore: ...
@overload
def create_state_store(
    backend: str, url: str | None = None, mode: Mode = "auto", *, registry: StoreRegistry | None = None, **options: Any
) -> StateStore | AsyncStateStore: ...
def create_state_store(
    backend: str,
    url: str | None = None,
    mode: Mode = "auto",
    *,
    registry: StoreRegistry | None = None,
    **options: Any,
) -> StateStore | AsyncStateStore:
    """Return a new state store; see [create_conversation_store][]."""
    store: StateStore | AsyncStateStore = _create("state", backend, url, mode, registry, options)
    return store


def _open(kind: str, url: str | os.PathLike[str], mode: str, registry: StoreRegistry | None, options: Any) -> Any:
    from praisonai_persistence.urls import parse_url, url_text

    url = url_text(url)
    stores = _stores(kind, registry)
    return _create(kind, _named(kind, stores, parse_url(url)), url, mode, stores, options)


def _named(kind: str, stores: StoreRegistry, parsed: StoreURL) -> str:
    """Return the name of the backend that a URL asks for."""
    name = parsed.scheme
    if parsed.variant:
        variant = _variant(stores, name, parsed.variant)
        if variant is None:
            raise UnknownBackendError(f"{str(parsed)!r}: the {kind} backend {name!r} has no variant {parsed.variant!r}")
        name = variant
    if name == "file" and not stores.has(name):
        raise UnknownBackendError(
            f"{str(parsed)!r} does not say which backend it is of: write sqlite:////folder/name, with four slashes "
            f"before an absolute path and three before a relative one"
        )
    return name


def check_options(
    kind: str, backend: str | None, url: str | None, mode: str, options: Mapping[str, Any], also: Iterable[str] = ()
) -> None:
    """Find what makes it impossible to open a store with these options, and open nothing.

    A backend that is not there is nobody's mistake yet: opening the store says so.

    Args:
        kind: of store.
        backend: its name, or None.
        url: or None; one of the two.
        mode: as for [create_conversation_store][].
        options: of the backend.
        also: names that may have been meant by one that the backend does not take.

    Raises:
        UnknownOptionError: an option that the backend does not take.
        ConfigurationError: the URL is one of another backend.
    """
    from praisonai_persistence.registry import _check_options
    from praisonai_persistence.urls import parse_url

    if backend is not None and url is not None:
        from praisonai_persistence.config import check_backend

        check_backend(kind, backend, url)
    own = mode_in(options)[1]
    own.pop("must_exist", None)
    if not own:
        return
    stores = _DEFAULTS[kind]
    try:
        name = _named(kind, stores, parse_url(url)) if backend is None and url is not None else backend or "sqlite"
        entry = stores._find(_in_mode(stores, name, mode))
        factory = stores._adapted(entry.name, entry.load(kind), entry.distribution)
    except PersistenceError:
        return
    if url is not None:
        own["url"] = url
    _check_options(f"the {kind} backend {entry.name!r}", factory, own, also)


def _variant(stores: StoreRegistry, scheme: str, variant: str) -> str | None:
    """Return the name that ``scheme+variant`` stands for: ``variant`` or ``scheme_variant``, of the scheme's family."""
    family = stores.canonical(scheme).removeprefix("async_")
    for name in (variant, f"{scheme}_{variant}"):
        if stores.has(name) and stores.canonical(name).removeprefix("async_") == family:
            return name
    return None


@overload
def open_conversation_store(
    url: str | os.PathLike[str], mode: Literal["sync"], *, registry: StoreRegistry | None = None, **options: Any
) -> ConversationStore: ...
@overload
def open_conversation_store(
    url: str | os.PathLike[str], mode: Literal["async"], *, registry: StoreRegistry | None = None, **options: Any
) -> AsyncConversationStore: ...
@overload
def open_conversation_store(
    url: str | os.PathLike[str], mode: Mode = "auto", *, registry: StoreRegistry | None = None, **options: Any
) -> ConversationStore | AsyncConversationStore: ...
def open_conversation_store(
    url: str | os.PathLike[str], mode: Mode = "auto", *, registry: StoreRegistry | None = None, **options: Any
) -> ConversationStore | AsyncConversationStore:
    """Return a new conversation store; the URL's scheme picks the backend, what stands behind ``+`` the variant.

    ``sqlite+aiosqlite:///agent.db`` is the async variant of sqlite; ``agent.db`` alone is ``sqlite:///agent.db``.

    Raises:
        ConfigurationError: a malformed URL.
        UnknownBackendError: and everything else that [StoreRegistry.create][] raises.
    """
    store: ConversationStore | AsyncConversationStore = _open("conversation", url, mode, registry, options)
    return store


@overload
def open_knowledge_store(
    url: str | os.PathLike[str], mode: Literal["sync"], *, registry: StoreRegistry | None = None, **options: Any
) -> KnowledgeStore: ...
@overload
def open_knowledge_store(
    url: str | os.PathLike[str], mode: Literal["async"], *, registry: StoreRegistry | None = None, **options: Any
) -> AsyncKnowledgeStore: ...
@overload
def open_knowledge_store(
    url: str | os.PathLike[str], mode: Mode = "auto", *, registry: StoreRegistry | None = None, **options: Any
) -> KnowledgeStore | AsyncKnowledgeStore: ...
def open_knowledge_store(
    url: str | os.PathLike[str], mode: Mode = "auto", *, registry: StoreRegistry | None = None, **options: Any
) -> KnowledgeStore | AsyncKnowledgeStore:
    """Return a new knowledge store; see [open_conversation_store][]."""
    store: KnowledgeStore | AsyncKnowledgeStore = _open("knowledge", url, mode, registry, options)
    return store


@overload
def open_state_store(
    url: str | os.PathLike[str], mode: Literal["sync"], *, registry: StoreRegistry | None = None, **options: Any
) -> StateStore: ...
@overload
def open_state_store(
    url: str | os.PathLike[str], mode: Literal["async"], *, registry: StoreRegistry | None = None, **options: Any
) -> AsyncStateStore: ...
@overload
def open_state_store(
    url: str | os.PathLike[str], mode: Mode = "auto", *, registry: StoreRegistry | None = None, **options: Any
) -> StateStore | AsyncStateStore: ...
def open_state_store(
    url: str | os.PathLike[str], mode: Mode = "auto", *, registry: StoreRegistry | None = None, **options: Any
) -> StateStore | AsyncStateStore:
    """Return a new state store; see [open_conversation_store][]."""
    store: StateStore | AsyncStateStore = _open("state", url, mode, registry, options)
    return store


class Stores(NamedTuple):
    """The stores of a configuration; None for a kind that it does not name.

    As PraisonAI returns a dict of them, they are also found by the name of their kind: ``stores["state"]``.
    """

    conversation: ConversationStore | AsyncConversationStore | None = None
    knowledge: KnowledgeStore | AsyncKnowledgeStore | None = None
    state: StateStore | AsyncStateStore | None = None

    def __getitem__(self, kind: Any) -> Any:
        return self._asdict()[kind] if isinstance(kind, str) else tuple.__getitem__(self, kind)

    def get(self, kind: str, default: Any = None) -> Any:
        """Return the store of a kind, or the default where there is none."""
        found = self._asdict().get(kind)
        return default if found is None else found

    def keys(self) -> tuple[str, ...]:
        """Return the kinds, so that ``dict(stores)`` has them."""
        return self._fields


def create_stores_from_config(config: PersistenceConfig, mode: Mode = "auto") -> Stores:
    """Return the stores that a configuration names; nothing is connected yet.

    Raises:
        ConfigurationError: and everything else that [open_conversation_store][] raises.
    """
    opened = [_configured(config, kind, mode) for kind in Stores._fields]
    if not config.lazy_init:
        from praisonai_persistence._store import SyncStore

        for store in opened:
            if isinstance(store, SyncStore):
                store.connect()
    return Stores(*opened)


def _configured(config: PersistenceConfig, kind: str, mode: str) -> Any:
    backend, url = getattr(config, f"{kind}_store"), getattr(config, f"{kind}_url")
    mode, options = mode_in(config.options(kind), mode)
    if backend is not None:
        return _create(kind, backend, url, mode, None, options)
    return None if url is None else _open(kind, url, mode, None, options)


def mode_in(options: Mapping[str, Any], mode: str = "auto") -> tuple[str, dict[str, Any]]:
    """Return the mode that options ask for by ``mode``, as PraisonAI's may, and the options without it.

    Raises:
        ConfigurationError: it is none, or another one than the caller asks for.
    """
    rest = dict(options)
    own = rest.pop("mode", "auto")
    if own not in ("auto", "sync", "async"):
        raise ConfigurationError(f"mode must be 'auto', 'sync' or 'async', not {_shown(own)}")
    if mode == "auto":
        return own, rest
    if own not in ("auto", mode):
        raise ConfigurationError(f"the options ask for mode={own!r}, and the call for mode={mode!r}; give one of them")
    return mode, rest

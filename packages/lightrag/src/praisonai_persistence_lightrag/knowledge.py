"""LightRAG as a knowledge store of this project.

LightRAG takes texts, and not the embeddings, metadata and collections of the contract. So documents are in a knowledge
store of this project, the sidecar, which answers everything but ``query``. LightRAG asks a language model several times
for each document. So it is not given a document by ``insert``, but by the next ``query`` or ``index``, together with
all others; a model that fails loses no document.

In the sidecar each writing of a document has an entry, which says whether LightRAG has read it (``doc``: LightRAG's
id), and whether the document is gone since. Documents with the same text are one to LightRAG.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from praisonai_persistence.bridge import run_sync
from praisonai_persistence.drivers import option
from praisonai_persistence.errors import (
    BackendError,
    CollectionNotFoundError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidValueError,
    PersistenceError,
    UnsupportedOperationError,
)
from praisonai_persistence.frameworks import all_documents, now
from praisonai_persistence.payload import check_count
from praisonai_persistence.steps import writes
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lightrag import LightRAG
    from lightrag.base import DocSchedulingRecord

    from praisonai_persistence.records import KnowledgeDocument
    from praisonai_persistence.steps import Steps

__all__ = ["AsyncLightRAGKnowledgeStore", "LightRAGKnowledgeStore", "LightRAGOptions"]

T = TypeVar("T")

_MODELS = ("llm_model_func", "embedding_func", "tokenizer")
_MODES = ("naive", "local", "global", "hybrid", "mix", "bypass")
_DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
_FAILED = "failed"
_ENDED = {_FAILED, "processed"}
_AGAIN = 0.05
"""Seconds after which it is looked again whether another caller's run has read a document."""
_folders: dict[str, str] = {}
"""Workspaces with their folders: within a process, LightRAG's files of one workspace are one, wherever they are."""


class _LightRAG(wrapped.Wrapped):
    """An instance of LightRAG, made and initialized by what needs it first, and used on its own event loop."""

    def __init__(self, owner: LightRAG | None, make: Callable[[], LightRAG]) -> None:
        self._rag, self._make, self._is_ours = owner, make, owner is None

    def add(self, documents: Sequence[KnowledgeDocument]) -> None:
        """LightRAG reads them later."""

    def remove(self, ids: Sequence[str]) -> None:
        """LightRAG forgets them later."""

    def close(self) -> None:
        if self._is_ours and self._rag is not None:
            self.run(lambda rag: rag.finalize_storages())

    def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Return what a coroutine function returns that is called with the instance."""
        try:
            rag = run_sync(self._ready)
            loop: asyncio.AbstractEventLoop = rag._owning_loop
            if not loop.is_running():
                raise UnsupportedOperationError(
                    "the event loop on which rag was initialized does not run: hand in one that is not initialized"
                )
            return asyncio.run_coroutine_threadsafe(function(rag, *args), loop).result()
        except PersistenceError:
            raise
        except Exception as error:
            raise BackendError(f"LightRAG failed with {type(error).__name__}; its log says more") from error

    async def _ready(self) -> LightRAG:
        if self._rag is None:
            self._rag = self._make()
        if self._rag._owning_loop is None:
            await self._rag.initialize_storages()
        return self._rag


async def _read(rag: LightRAG, texts: dict[str, str]) -> set[str]:
    """Give texts to LightRAG; return the ids of those that it could not read."""
    known = await rag.doc_status.get_docs_by_ids(list(texts), strict=True)
    for id_ in _failed(known):  # LightRAG does not try them again
        await _forget(rag, id_)
        del known[id_]
    new = {id_: text for id_, text in texts.items() if id_ not in known}
    if new:
        await rag.ainsert(list(new.values()), ids=list(new))
    while True:
        found = await rag.doc_status.get_docs_by_ids(list(texts), strict=True)
        if all(record.status.value in _ENDED for record in found.values()):
            return _failed(found)
        await asyncio.sleep(_AGAIN)  # the run of another caller is under way
        await rag.apipeline_process_enqueue_documents()


def _failed(found: dict[str, DocSchedulingRecord]) -> set[str]:
    return {id_ for id_, record in found.items() if record.status.value == _FAILED}


async def _forget(rag: LightRAG, id_: str) -> None:
    result = await rag.adelete_by_doc_id(id_, delete_llm_cache=True)
    if result.status not in {"success", "not_found"}:
        raise BackendError(f"LightRAG did not remove a document: {result.status}; its log says more")


async def _ask(rag: LightRAG, text: str, mode: Any, limit: int) -> str:
    from lightrag import QueryParam
    from lightrag.query_validation import QueryValidationError

    param = QueryParam(mode=mode, top_k=limit, chunk_top_k=limit, enable_rerank=rag.rerank_model_func is not None)
    try:
        return str(await rag.aquery(text, param))
    except QueryValidationError as error:
        raise InvalidValueError("LightRAG refuses the question: it must have some words") from error


class _Joined(wrapped.Joined):
    """LightRAG and the sidecar."""

    wrapped: _LightRAG

    def _marks(self, filters: dict[str, Any]) -> list[KnowledgeDocument]:
        return now(all_documents(self.sidecar, wrapped.IDS, filters))

    def forget(self, entries: Sequence[str]) -> None:
        """Remove entries; those that LightRAG has read are only marked."""
        try:
            marks = self.sidecar.get(wrapped.IDS, entries)
        except CollectionNotFoundError:
            return
        read = [replace(mark, metadata={**mark.metadata, "gone": True}) for mark in marks if mark.metadata]
        if read:
            self.sidecar.upsert(wrapped.IDS, read)
        if new := [mark.id for mark in marks if not mark.metadata]:
            self.sidecar.delete(wrapped.IDS, new)

    def index(self) -> int:
        """Give LightRAG what it has not read, and make it forget what is gone; return how many documents it read."""
        due = {mark.id: mark for mark in self._marks({"doc": {"$exists": False}})}
        entries = list(due)
        texts: dict[str, str] = {}
        docs: dict[str, str] = {}
        if due:
            from lightrag.utils import compute_mdhash_id, sanitize_text_for_encoding
        for place, document in self.current(entries, None):
            text = sanitize_text_for_encoding(wrapped.plain_text(document.content))
            docs[entries[place]] = id_ = compute_mdhash_id(text, prefix="doc-") if text else ""
            texts.update({id_: text} if text else {})
        failed = self.wrapped.run(_read, texts) if texts else set()
        read = [replace(due[entry], metadata={"doc": doc}) for entry, doc in docs.items() if doc not in failed]
        if read:
            self.sidecar.upsert(wrapped.IDS, read)
            entries = [mark.id for mark in read]
            stays = {place for place, _ in self.current(entries, None)}
            self.forget([entry for place, entry in enumerate(entries) if place not in stays])
        gone = self._marks({"gone": True})
        for doc in {(mark.metadata or {})["doc"] for mark in gone} - {""}:
            if not self.sidecar.count(wrapped.IDS, {"doc": doc, "gone": {"$exists": False}}):
                self.wrapped.run(_forget, doc)
        if gone:
            self.sidecar.delete(wrapped.IDS, [mark.id for mark in gone])
        if failed:
            raise BackendError(
                f"LightRAG could not read {len(failed)} of {len(texts)} texts; they are stored, and given to it again "
                "by the next call. Its log and its doc_status say why"
            )
        return len(read)

    def ask(self, text: str, mode: str, limit: int) -> str:
        """Return LightRAG's answer."""
        self.index()
        return self.wrapped.run(_ask, text, mode, limit)


class _Steps(wrapped.WrappedSteps):
    @writes
    def index(self) -> Steps[int]:
        return (yield lambda joined: joined.index())  # type: ignore[no-any-return]

    @writes
    def ask(self, text: str, mode: str, limit: int) -> Steps[str]:
        return (yield lambda joined: joined.ask(text, mode, limit))  # type: ignore[no-any-return]


class _Folder:
    """Stands for the instance that is made later: LightRAG takes seconds to import."""


class LightRAGOptions(wrapped.WrappedOptions):
    """What the stores can be given; other arguments of ``LightRAG`` are handed on to it."""

    title = "LightRAG"
    clients = ("rag", "working_dir")
    base = object
    volatile = ()
    instance = "rag"
    joined = _Joined
    steps = _Steps
    sidecar_url = "sqlite:///WORKING_DIR/praison.db"
    rag_cls = _Folder

    rag = option(None, "object", "an instance of LightRAG; it stays open")
    working_dir = option("./lightrag_data", "object", "or the folder of one that is made when it is first needed")
    llm_model = option("gpt-4o-mini", "text", "OpenAI's model that it asks, without `llm_model_func`")
    embedding_model = option("text-embedding-3-small", "text", "OpenAI's model, without `embedding_func`")
    llm_model_func = option(None, "object", "the model that it asks: a coroutine function")
    embedding_func = option(None, "object", "LightRAG's `EmbeddingFunc`")
    tokenizer = option(None, "object", "LightRAG's `Tokenizer`; its own needs a network when it is first used")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        rag = given.get("rag")
        if rag is not None or not {*given} <= {*self.declared}:
            from lightrag import LightRAG

            fields = {field.name for field in dataclasses.fields(LightRAG) if field.init} - {*self.declared}
            others = {name: given.pop(name) for name in fields & set(given)}
            if rag is not None and not isinstance(rag, LightRAG):
                raise ConfigurationError(f"rag must be a LightRAG of lightrag, not {type(rag).__name__}")
            needless = {*others, *(name for name in _MODELS if given.get(name) is not None)}
            if rag is not None and needless:
                raise ConfigurationError(f"{', '.join(sorted(needless))}: rag was made with what it needs")
        else:
            others = {}
        if rag is None and given.get("working_dir") is None:
            given["working_dir"] = self.declared["working_dir"].default
        folder = given.get("working_dir") or getattr(rag, "working_dir", None)
        if not isinstance(folder, (str, os.PathLike)):
            raise ConfigurationError("working_dir must be the path of a folder")
        self.folder = os.path.abspath(os.path.expanduser(folder))
        self._beside = given.get("sidecar") is None
        if self._beside:
            given["sidecar"] = self.sidecar_url.replace("WORKING_DIR", self.folder)
        super().__init__(url, **given)
        self.rag_kwargs = {**others, **{name: getattr(self, name) for name in _MODELS}, "working_dir": self.folder}

    @property
    def where(self) -> str:
        """What errors call the place."""
        return f"LightRAG in {self.folder}"

    def capabilities_of(self, capabilities: frozenset[str]) -> frozenset[str]:
        """Return what a store has of its capabilities with this sidecar, to which all documents are written."""
        if self._beside:
            return capabilities | {"durable", "shared"}
        if isinstance(self.sidecar, str):
            return super().capabilities_of(capabilities)
        return super().capabilities_of(capabilities | {"durable", "shared"})

    def make(self) -> Any:
        """Return the instance, or the arguments of one; see that there are models, and the folder."""
        if self._beside:
            try:
                os.makedirs(self.folder, mode=0o700, exist_ok=True)
            except OSError as error:
                raise ConnectionFailedError(f"the folder {self.folder} cannot be made: {error.strerror}") from error
        if self.owner is not None:
            return self.owner
        kwargs = dict(self.rag_kwargs)
        if not (kwargs.get("llm_model_func") and kwargs.get("embedding_func")):
            if importlib.util.find_spec("openai") is None or not os.environ.get("OPENAI_API_KEY"):
                raise ConfigurationError(
                    "LightRAG needs models: give llm_model_func=... and embedding_func=EmbeddingFunc(...) of yours; "
                    "or, for those of OpenAI, install the package openai and set OPENAI_API_KEY"
                )
            self._add_openai(kwargs)
        return kwargs

    def _add_openai(self, kwargs: dict[str, Any]) -> None:
        from lightrag.llm.openai import openai_complete, openai_embed
        from lightrag.utils import EmbeddingFunc

        if not kwargs.get("llm_model_func"):
            kwargs |= {"llm_model_func": openai_complete, "llm_model_name": self.llm_model}
        if not kwargs.get("embedding_func"):
            if self.embedding_model not in _DIMENSIONS:
                raise ConfigurationError(
                    f"the dimension of {self.embedding_model} is not known: give embedding_func=EmbeddingFunc(...)"
                )
            embed = functools.partial(openai_embed.func, model=self.embedding_model)
            kwargs["embedding_func"] = EmbeddingFunc(_DIMENSIONS[self.embedding_model], embed, 8192)

    def wrap(self, store: Any) -> _LightRAG:
        return _LightRAG(self.owner, lambda: self._new(store))

    def _new(self, kwargs: dict[str, Any]) -> LightRAG:
        from lightrag import LightRAG

        try:
            rag = LightRAG(**kwargs)
        except (OSError, TypeError, ValueError, ImportError) as error:
            raise ConfigurationError(
                f"LightRAG cannot be made with these arguments ({type(error).__name__}); without a network it also "
                "needs tokenizer=lightrag.utils.Tokenizer(NAME, YOURS)"
            ) from error
        if rag.kv_storage == "JsonKVStorage" and _folders.setdefault(rag.workspace, self.folder) != self.folder:
            raise ConfigurationError(
                "this process has another folder with the same workspace, whose data LightRAG would mix with these: "
                "give workspace='NAME'"
            )
        return rag


def _question(query_text: Any, mode: Any, limit: Any) -> tuple[Any, ...]:
    if not isinstance(query_text, str) or not query_text.strip():
        raise InvalidValueError("query_text must be text, not empty")
    if mode not in _MODES:
        raise InvalidValueError(f"mode must be one of {', '.join(_MODES)}")
    return wrapped.plain_text(query_text), mode, max(check_count(limit, "limit"), 1)


class LightRAGKnowledgeStore(wrapped.WrappedStore, StepKnowledgeStore):
    """Knowledge in a sidecar, from which LightRAG makes a graph, and answers questions."""

    options_class = LightRAGOptions
    backend: ClassVar[str] = "lightrag"

    def _elsewhere(self) -> Any:
        """Return the steps, if this is not the event loop that they would wait for."""
        with contextlib.suppress(RuntimeError):  # no loop runs here
            if self._owner is not None and self._owner._owning_loop is asyncio.get_running_loop():
                raise UnsupportedOperationError(
                    "rag belongs to the event loop that runs here, which would wait for itself: use the async store"
                )
        return self._steps

    def query(self, query_text: str, mode: str = "hybrid", limit: int = 5) -> str:
        """Return LightRAG's answer to a question, from the documents of all collections.

        Args:
            query_text: the question.
            mode: LightRAG's: ``naive``, ``local``, ``global``, ``hybrid``, ``mix`` or ``bypass``.
            limit: how many entities, relations and chunks it may look at; at least 1.

        Raises:
            BackendError: LightRAG or a model failed.
        """
        steps: Any = self._elsewhere()
        return self._runner.run(steps.ask, *_question(query_text, mode, limit))  # type: ignore[no-any-return]

    def index(self) -> int:
        """Let LightRAG read what it has not read yet; return how many documents that were. ``query`` does it, too."""
        steps: Any = self._elsewhere()
        return self._runner.run(steps.index)  # type: ignore[no-any-return]


class AsyncLightRAGKnowledgeStore(wrapped.WrappedStore, AsyncStepKnowledgeStore):
    """[LightRAGKnowledgeStore][] for async callers: operations run on threads."""

    options_class = LightRAGOptions
    backend: ClassVar[str] = "lightrag"
    _asynchronous = True

    async def query(self, query_text: str, mode: str = "hybrid", limit: int = 5) -> str:
        """See [LightRAGKnowledgeStore.query][]."""
        steps: Any = self._steps
        return await self._runner.run(steps.ask, *_question(query_text, mode, limit))

    async def index(self) -> int:
        """See [LightRAGKnowledgeStore.index][]."""
        steps: Any = self._steps
        return await self._runner.run(steps.index)

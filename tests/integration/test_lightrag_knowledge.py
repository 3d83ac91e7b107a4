"""LightRAG as a knowledge store: the conformance kit, answers, and what is asked of LightRAG when."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from lightrag import LightRAG, QueryParam
from lightrag_models import arguments, ask

from praisonai_persistence import (
    KnowledgeDocument,
    create_knowledge_store,
    open_knowledge_store,
    open_state_store,
)
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    InvalidValueError,
    UnsupportedOperationError,
)
from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec
from praisonai_persistence_lightrag import AsyncLightRAGKnowledgeStore, LightRAGKnowledgeStore, storages

STORES = {"sync": "lightrag_stores:store", "async_": "lightrag_stores:async_store"}


class TestLightRAG(KnowledgeStoreSuite):
    backend = "lightrag"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"working_dir": str(tmp_path / "rag")})


def documents(*texts: str) -> list[KnowledgeDocument]:
    return [KnowledgeDocument(f"d{number}", text, [1.0, float(number)]) for number, text in enumerate(texts)]


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Arguments of a store, of which LightRAG's data are apart from those of other tests in this process."""
    return {**arguments(), "working_dir": tmp_path / "rag", "workspace": f"w{uuid.uuid4().hex}"}


QUESTION = "Do cats, dogs or bees sleep?"


@pytest.mark.parametrize("mode", ["naive", "local", "global", "hybrid", "mix"])
def test_an_answer_is_from_all_that_is_stored(given: dict[str, Any], mode: str) -> None:
    with LightRAGKnowledgeStore(**given) as store:
        assert store.query("Do cats sleep?", mode).endswith("[no-context]")
        for name in ("one", "two"):
            store.create_collection(name, 2)
        store.insert("one", documents("Cats sleep all day in beds.", "", "\x00\ud800"))
        store.insert("two", documents("Dogs sleep all day in gardens."))
        assert store.query(QUESTION, mode, 20) == "cats dogs"
        assert [document.id for document in store.search("one", [1.0, 0.0], 1)] == ["d0"]
    with LightRAGKnowledgeStore(**given) as store:
        assert store.index() == 0
        store.delete("two", ["d0"])
        assert store.query("Do dogs or cats sleep?", mode, 20) == "cats"


def test_documents_with_the_same_text_are_one_until_the_last_is_gone(given: dict[str, Any]) -> None:
    with LightRAGKnowledgeStore(**given) as store:
        store.create_collection("c", 2)
        store.insert("c", documents("Cats sleep here.", "Cats sleep here.", " Cats sleep here.\n"))
        assert (store.index(), store.index()) == (3, 0)
        store.upsert("c", documents("Dogs sleep here.", "Cats sleep here."))
        assert store.index() == 2
        store.delete("c", ["d1"])
        assert store.query(QUESTION, "naive") == "cats dogs"
        store.delete("c", ["d2"])
        assert store.query("Do bees, dogs or cats sleep?", "naive") == "dogs"
        store.delete_collection("c")
        assert store.query("And now?", "naive").endswith("[no-context]")


def test_a_model_that_fails_loses_nothing(given: dict[str, Any]) -> None:
    fails = True

    async def model(prompt: str, **options: Any) -> str:
        if fails and "dogs" in prompt.lower():
            raise ValueError("Dogs sleep in gardens")
        return await ask(prompt, **options)

    with LightRAGKnowledgeStore(**{**given, "llm_model_func": model}) as store:
        store.create_collection("c", 2)
        store.insert("c", documents("Cats sleep here.", "Dogs sleep here."))
        for _ in range(2):
            with pytest.raises(BackendError, match="could not read 1 of") as caught:
                store.query(QUESTION, "naive")
            assert "Dogs" not in str(caught.value)
        assert store.count("c") == 2
        fails = False
        assert store.index() == 1
        assert store.query(QUESTION, "naive") == "cats dogs"


def test_an_async_store_over_an_instance_of_the_same_event_loop(tmp_path: Path) -> None:
    async def work() -> None:
        place = f"sqlite:///{tmp_path}/agent.db"
        async with open_state_store(place, "async") as state, open_knowledge_store(place, "async") as knowledge:
            rag = LightRAG(working_dir=str(tmp_path / "w"), **arguments(), **storages(state, knowledge))
            await rag.initialize_storages()
            async with AsyncLightRAGKnowledgeStore(rag=rag, sidecar=knowledge) as store:
                assert {"durable", "shared", "atomic_batch"} <= store.capabilities
                await store.create_collection("c", 2)
                await store.insert("c", documents("Cats sleep here."))
                assert await store.index() == 1
                assert await store.query(QUESTION) == "cats"
            with (
                LightRAGKnowledgeStore(rag=rag) as store_of_this_thread,
                pytest.raises(UnsupportedOperationError, match="async store"),
            ):
                store_of_this_thread.query(QUESTION)
            assert await rag.aquery(QUESTION, QueryParam(mode="local", enable_rerank=False)) == "cats"  # it is open
            await rag.finalize_storages()

    asyncio.run(work())


def test_bad_input(given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (object(), "rag", LightRAG):
        with pytest.raises(ConfigurationError, match="rag must be a LightRAG"):
            LightRAGKnowledgeStore(rag=wrong)
    with pytest.raises(ConfigurationError, match="has no URL"):
        LightRAGKnowledgeStore("lightrag://localhost")
    with pytest.raises(ConfigurationError, match="working_dir"):
        LightRAGKnowledgeStore(working_dir=7)
    with pytest.raises(ConfigurationError, match="sidecar"):
        LightRAGKnowledgeStore(sidecar=7)
    with pytest.raises(TypeError, match="workspace_"):
        LightRAGKnowledgeStore(workspace_="x")
    with LightRAGKnowledgeStore(**given) as store:
        for question, mode, limit in (("", "mix", 5), (7, "mix", 5), ("x", "fuzzy", 5), ("x", "mix", -1)):
            with pytest.raises(InvalidValueError):
                store.query(question, mode, limit)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match="some words"):
            store.query("x")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with (
        LightRAGKnowledgeStore(working_dir=tmp_path / "none") as store,
        pytest.raises(ConfigurationError, match="llm_"),
    ):
        store.list_collections()
    half = LightRAGKnowledgeStore(**{**given, "embedding_func": None})
    with half as store, pytest.raises(ConfigurationError, match="embedding_func="):
        store.list_collections()
    with LightRAGKnowledgeStore(**{**given, "kv_storage": "NothingKnown"}) as store:
        store.create_collection("c", 2)
        with pytest.raises(ConfigurationError, match="LightRAG cannot be made"):
            store.query(QUESTION)


def test_two_folders_of_one_workspace_are_not_mixed(given: dict[str, Any], tmp_path: Path) -> None:
    with LightRAGKnowledgeStore(**given) as one, LightRAGKnowledgeStore(**{**given, "working_dir": tmp_path}) as two:
        one.query(QUESTION, "naive")
        with pytest.raises(ConfigurationError, match="workspace="):
            two.query(QUESTION, "naive")


def test_it_is_found_by_its_name(given: dict[str, Any]) -> None:
    with create_knowledge_store("lightrag", **given) as store:
        assert type(store) is LightRAGKnowledgeStore
        assert store.list_collections() == []

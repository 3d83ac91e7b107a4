"""Commands and the stores over frameworks: these have no URL, and their documents are in a sidecar that has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from lightrag_models import arguments

from praisonai_persistence import KnowledgeDocument, create_knowledge_store, open_knowledge_store
from praisonai_persistence_cli import main
from praisonai_persistence_langchain import PersistentVectorStore as LangChainVectors
from praisonai_persistence_llamaindex import PersistentVectorStore as LlamaIndexVectors

OPTIONS = {
    "langchain": "vectorstore=... or vectorstore_cls=...",
    "lightrag": "rag=... or working_dir=...",
    "llamaindex": "vector_store=... or vector_store_cls=...",
}


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Options of a store that lasts, and the URL of its sidecar."""
    url = f"sqlite:///{tmp_path}/praison.db"
    if request.param == "lightrag":
        yield {**arguments(), "working_dir": tmp_path}, url
        return
    with open_knowledge_store(f"sqlite:///{tmp_path}/vectors.db") as inner:
        if request.param == "langchain":
            yield {"vectorstore": LangChainVectors(inner, DeterministicFakeEmbedding(size=2)), "sidecar": url}, url
        else:
            yield {"vector_store": LlamaIndexVectors(inner), "sidecar": url, "distance": "cosine"}, url


@pytest.mark.parametrize("backend", sorted(OPTIONS))
@pytest.mark.parametrize("command", ["doctor", "status", "knowledge"])
def test_an_error_names_the_options_and_the_way_for_commands(backend, command, capsys):
    words = ["collections"] if command == "knowledge" else []
    assert main([command, *words, "--knowledge-url", f"{backend}:///folder"]) == (2 if command == "knowledge" else 1)
    error = capsys.readouterr().err
    assert f"has no URL: a program gives {OPTIONS[backend]}" in error
    assert "sidecar, which has all of them, by its URL: sqlite:///" in error
    assert ("WORKING_DIR/praison.db" in error) == (backend == "lightrag")


@pytest.mark.parametrize(("made", "backend"), [(name, name) for name in sorted(OPTIONS)], indirect=["made"])
def test_doctor_checks_the_sidecar_and_leaves_the_documents_alone(made, backend, capsys):
    options, url = made
    documents = [KnowledgeDocument(id_, f"about {id_}", vector) for id_, vector in (("a", [1.0, 0.1]), ("b", [0.1, 1]))]
    with create_knowledge_store(backend, **options) as store:
        store.create_collection("notes", 2)
        store.insert("notes", documents)
        before = store.search("notes", [1.0, 0.0])
    for more in ([], ["--in-place"]):
        assert main(["doctor", "--json", "--knowledge-url", url, *more]) == 0
        (check,) = json.loads(capsys.readouterr().out)["stores"]
        assert {step["result"] for step in check["steps"]} == {"ok"}
    assert main(["knowledge", "get", "notes", "a", "--json", "--knowledge-url", url]) == 0
    assert "about a" in capsys.readouterr().out
    with create_knowledge_store(backend, **options) as store:
        assert store.list_collections() == ["notes"]
        assert store.search("notes", [1.0, 0.0]) == before

"""LightRAG on one SQLite file and on one PostgreSQL: killed processes, two processes at once, and other readers."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lightrag import LightRAG, QueryParam
from lightrag.base import DocStatus
from lightrag_models import arguments

from praisonai_persistence import open_knowledge_store, open_state_store
from praisonai_persistence_lightrag import storages

# Tokenizer, embeddings and model need no network.
PROGRAM = """
import asyncio, json, sys, threading
sys.path.insert(0, sys.argv[1])
from lightrag import LightRAG, QueryParam
from lightrag_models import arguments, ask
from praisonai_persistence import open_knowledge_store, open_state_store
from praisonai_persistence_lightrag import storages

stage, mode, folder, places = sys.argv[2], sys.argv[3], sys.argv[4], json.loads(sys.argv[5])
forever = threading.Event()


async def stuck(prompt, **given):
    if "dogs" in prompt.lower() and "high_level_keywords" not in prompt:
        print(json.dumps("stuck"), flush=True)
        await asyncio.sleep(3600)
    return await ask(prompt, **given)


async def main():
    state = open_state_store(places["state"].pop("url"), mode, **places["state"])
    knowledge = open_knowledge_store(places["knowledge"].pop("url"), mode, **places["knowledge"])
    given = arguments() | ({"llm_model_func": stuck} if stage == "stuck" else {})
    rag = LightRAG(working_dir=folder, **given, **storages(state, knowledge))
    await rag.initialize_storages()
    if stage == "write":
        await rag.ainsert(["Cats sleep all day in beds."], ids=["cats"])
        print(json.dumps("written"), flush=True)
    elif stage == "stuck":
        await rag.ainsert(["Dogs sleep all day in gardens.", "Bees sleep at night."], ids=["dogs", "bees"])
    elif stage == "many":
        sys.stdin.readline()
        name = sys.argv[6]
        texts = {f"{name}{n}": f"Cats sleep in beds, said {name} {n}." for n in range(10)}
        await rag.ainsert(list(texts.values()), ids=list(texts))
        print(json.dumps("written"), flush=True)
    else:
        if stage == "resume":
            await rag.apipeline_process_enqueue_documents()
        # Not the same question: LightRAG's answers are kept, too.
        question = "Do cats or dogs sleep?" if stage == "query" else "Do dogs, cats or bees sleep?"
        answers = {}
        for kind in ("naive", "local", "global", "hybrid", "mix"):
            answers[kind] = await rag.aquery(question, QueryParam(mode=kind, enable_rerank=False))
        print(json.dumps(answers), flush=True)
        print(json.dumps([await rag.get_graph_labels(), await rag.get_processing_status()]), flush=True)
    forever.wait()


asyncio.run(main())
"""
HERE = str(Path(__file__).parent)


def start(stage, mode, folder, places, *more):
    command = [sys.executable, "-c", PROGRAM, HERE, stage, mode, str(folder), json.dumps(places), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")


def said(process, lines):
    return [json.loads(process.stdout.readline()) for _ in range(lines)]


def run(stage, mode, folder, places, lines):
    """Run one stage in another process, kill it behind its last line, and return what it printed."""
    with start(stage, mode, folder, places) as process:
        found = said(process, lines)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return found


def check_stages(mode, folder, places):
    assert run("write", mode, folder, places, 1) == ["written"]
    answers, (labels, counts) = run("query", mode, folder, places, 2)
    assert set(answers.values()) == {"cats"}, answers
    assert (labels, counts["processed"]) == (["Beds", "Cats"], 1)
    assert run("stuck", mode, folder, places, 1) == ["stuck"]  # in the middle of reading a document
    answers, (labels, counts) = run("resume", mode, folder, places, 2)
    assert answers["naive"] == "bees cats dogs"
    assert answers["local"] == answers["mix"] == "bees cats dogs"
    assert labels == ["Beds", "Bees", "Cats", "Dogs", "Gardens", "Hives"]
    assert (counts["processed"], sum(counts.values())) == (3, 3)


def check_two_processes(mode, folder, places, of_one):
    """Both read documents about the same entity at once; nothing of either is lost."""
    with (
        start("many", mode, folder / "a", places, "ada") as one,
        start("many", mode, folder / "b", places, "bob") as two,
    ):
        for process in (one, two):
            process.stdin.write("\n")
            process.stdin.flush()
        assert said(one, 1) == said(two, 1) == ["written"]
        one.kill()
        two.kill()

    async def look():
        state, knowledge = of_one()
        rag = LightRAG(working_dir=str(folder / "c"), **arguments(), **storages(state, knowledge))
        await rag.initialize_storages()
        docs = await rag.doc_status.get_docs_by_statuses([DocStatus.PROCESSED], strict=True)
        assert sorted(docs) == sorted(f"{name}{number}" for name in ("ada", "bob") for number in range(10))
        chunks = [chunk for doc in docs.values() for chunk in doc.chunks_list]
        assert len(await rag.chunks_vdb.get_vectors_by_ids(chunks)) == len(set(chunks)) == 20
        assert None not in await rag.text_chunks.get_by_ids(chunks)
        assert await rag.get_graph_labels() == ["Beds", "Cats"]
        assert await rag.aquery("Do cats sleep?", QueryParam(mode="mix", enable_rerank=False)) == "cats"
        await rag.finalize_storages()
        for store in (state, knowledge):
            await store.close()

    asyncio.run(look())


def opened(places):
    state, knowledge = dict(places["state"]), dict(places["knowledge"])
    return (
        open_state_store(state.pop("url"), "async", **state),
        open_knowledge_store(knowledge.pop("url"), "async", **knowledge),
    )


def of_pgvector(space):
    return {"state": space, "knowledge": {**space, "url": space["url"].replace("postgresql", "pgvector", 1)}}


@pytest.mark.crash
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_killed_process_on_sqlite(mode, tmp_path):
    place = {"url": f"sqlite:///{tmp_path}/agent.db"}
    check_stages(mode, tmp_path / "w", {"state": place, "knowledge": place})
    assert not [path for path in (tmp_path / "w").rglob("*") if path.is_file()]  # everything is in the one file


@pytest.mark.crash
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_killed_process_on_pgvector(mode, pgvector, tmp_path):
    with pgvector.space() as space:
        check_stages(mode, tmp_path, of_pgvector(space))


@pytest.mark.crash
def test_two_processes_on_sqlite(tmp_path):
    place = {"url": f"sqlite:///{tmp_path}/agent.db"}
    places = {"state": place, "knowledge": place}
    check_two_processes("sync", tmp_path, places, lambda: opened(places))


@pytest.mark.crash
def test_two_processes_on_pgvector(pgvector, tmp_path):
    with pgvector.space() as space:
        places = of_pgvector(space)
        check_two_processes("async", tmp_path, places, lambda: opened(places))


def test_a_document_is_removed_and_other_readers_see_what_is_left(tmp_path):
    async def work():
        place = f"sqlite:///{tmp_path}/agent.db"
        async with open_state_store(place, "async") as state, open_knowledge_store(place, "async") as knowledge:
            rag = LightRAG(working_dir=str(tmp_path), workspace="mine", **arguments(), **storages(state, knowledge))
            await rag.initialize_storages()
            await rag.ainsert(
                ["Cats sleep in beds.", "Dogs sleep in gardens."], ids=["c", "d"], file_paths=["c.txt", "d.txt"]
            )
            assert (await rag.adelete_by_doc_id("d")).status == "success"
            assert await rag.get_graph_labels() == ["Beds", "Cats"]
            await rag.finalize_storages()
            found = await knowledge.search("lightrag_mine_chunks", [1.0] * 8, filters={"file_path": "c.txt"})
            assert [document.content for document in found] == ["Cats sleep in beds."]
            assert await knowledge.count("lightrag_mine_chunks") == 1
            assert (await state.get("lightrag/mine/full_docs/k/c"))["content"] == "Cats sleep in beds."
            assert (await state.get("lightrag/mine/doc_status/d/c"))["row"]["status"] == "processed"

    asyncio.run(work())

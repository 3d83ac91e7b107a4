"""The graph storage, compared with LightRAG's own in memory."""

from __future__ import annotations

import asyncio
import random

from lightrag.kg.networkx_impl import NetworkXStorage
from lightrag.kg.shared_storage import finalize_share_data, initialize_share_data

from praisonai_persistence_lightrag import PersistentGraphStorage

NAMES = ["Cats", "Dogs", "a/b", "*", "é" * 300, "cats", "Cats and dogs", "<SEP>", " "]


def pairs(edges):
    return sorted(tuple(sorted(edge)) for edge in edges or ())


def edge_of(edge):
    ends = sorted((edge["source"], edge["target"]))
    return [*ends, sorted((key, value) for key, value in edge.items() if key not in {"source", "target"})]


async def seen(graph):
    """Everything that the interface tells of a graph."""
    ends = [(one, other) for one in NAMES for other in NAMES if one != other]
    asked = [{"src": one, "tgt": other} for one, other in ends]
    whole = await graph.get_knowledge_graph("*", 3, 1000)
    near = await graph.get_knowledge_graph("Cats", 1, 4)
    return {
        "nodes": {name: await graph.get_node(name) for name in NAMES},
        "batch": await graph.get_nodes_batch([*NAMES, "Cats"]),
        "has": await graph.has_nodes_batch(NAMES),
        "degrees": await graph.node_degrees_batch(NAMES),
        "edge degrees": await graph.edge_degrees_batch(ends),
        "edges": await graph.get_edges_batch(asked),
        "of nodes": {name: pairs(edges) for name, edges in (await graph.get_nodes_edges_batch(NAMES)).items()},
        "of one": [pairs(await graph.get_node_edges(name)) for name in NAMES],
        "none": [name for name in NAMES if await graph.get_node_edges(name) is None],
        "labels": await graph.get_all_labels(),
        "popular": await graph.get_popular_labels(5),
        "found": await graph.search_labels("cats", 5),
        "all nodes": sorted((node["id"], str(sorted(node.items()))) for node in await graph.get_all_nodes()),
        "all edges": sorted(map(edge_of, await graph.get_all_edges())),
        "whole": sorted((node.id, str(node.properties)) for node in whole.nodes),
        "near": (sorted(node.id for node in near.nodes), pairs((e.source, e.target) for e in near.edges)),
    }


async def change(graph, chance):
    """Do what ``chance`` says."""
    one, other = chance.sample(NAMES, 2)
    data = {"description": f"{chance.random()}", chance.choice("xyz"): chance.randrange(9)}
    what = chance.randrange(8)
    if what < 2:
        await graph.upsert_node(one, data)
    elif what < 4:
        await graph.upsert_edge(one, other, data)
    elif what == 4:
        await graph.upsert_nodes_batch([(name, data) for name in chance.sample(NAMES, 3)])
    elif what == 5:
        await graph.upsert_edges_batch([(one, other, data), (other, one, {"weight": 2.5})])
    elif what == 6:
        await graph.remove_edges([(one, other), tuple(chance.sample(NAMES, 2))])
    elif chance.random() < 0.5:
        await graph.delete_node(one)
    else:
        await graph.remove_nodes([one, other])


def test_it_is_the_same_graph_as_lightrags_own(run, tmp_path):
    async def work(stores):
        initialize_share_data()
        try:
            config = {"working_dir": str(tmp_path), "max_graph_nodes": 1000}
            theirs = NetworkXStorage(namespace="g", workspace="", global_config=config, embedding_func=None)
            await theirs.initialize()
            for seed in range(3):
                ours = stores.make(PersistentGraphStorage, "g", str(seed))
                await theirs.drop()
                for number in range(40):
                    await change(theirs, random.Random(100 * seed + number))
                    await change(ours, random.Random(100 * seed + number))
                    if number % 13 == 0:
                        assert await seen(ours) == await seen(theirs)
                assert await seen(stores.make(PersistentGraphStorage, "g", str(seed))) == await seen(theirs)
        finally:
            finalize_share_data()

    run(work)


def test_single_questions(run):
    async def work(stores):
        graph = stores.make(PersistentGraphStorage)
        await graph.upsert_edge("b", "a", {"weight": 1.0})
        assert await graph.has_node("a")
        assert not await graph.has_node("c")
        assert await graph.has_edge("a", "b")
        assert not await graph.has_edge("a", "c")
        assert await graph.get_edge("a", "b") == await graph.get_edge("b", "a") == {"weight": 1.0}
        assert await graph.get_edge("a", "c") is None
        assert (await graph.node_degree("a"), await graph.node_degree("c")) == (1, 0)
        assert await graph.edge_degree("a", "b") == 2
        assert await graph.get_node_edges("a") == [("a", "b")]
        assert await graph.get_node_edges("c") is None
        await graph.upsert_edge("a", "a", {"weight": 3.0})
        assert await graph.get_edge("a", "a") == {"weight": 3.0}
        await graph.remove_edges([("a", "a"), ("never", "a")])
        assert await graph.get_node_edges("a") == [("a", "b")]
        assert (await graph.drop())["status"] == "success"
        assert await graph.get_all_labels() == []

    run(work)


def test_64_tasks_lose_no_node_and_no_edge(run):
    async def work(stores):
        graph = stores.make(PersistentGraphStorage)

        async def write(writer):
            await graph.upsert_node(f"n{writer}", {"n": writer})
            await graph.upsert_edge("hub", f"n{writer}", {"n": writer})

        await asyncio.gather(*map(write, range(64)))
        assert await graph.node_degree("hub") == 64
        assert {edge["n"] for edge in await graph.get_all_edges()} == set(range(64))
        assert (await graph.get_node("n63"))["n"] == 63

    run(work)

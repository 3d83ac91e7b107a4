"""LightRAG's graph storage in a state store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx
from lightrag.base import BaseGraphStorage
from lightrag.kg.networkx_impl import NetworkXStorage

from praisonai_persistence_lightrag._storage import KeyStorage, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightrag.types import KnowledgeGraph

__all__ = ["PersistentGraphStorage"]


def _node(name: str) -> str:
    return f"n/{digest(name)}"


def _edges(name: str) -> str:
    """Return how the keys of a node's edges begin."""
    return f"e/{digest(name)}/"


def _pair(source: str, target: str) -> tuple[str, str]:
    """Return the two keys of an edge, one of each node's; the first has its properties."""
    first, second = sorted((source, target))
    return f"{_edges(first)}{digest(second)}", f"{_edges(second)}{digest(first)}"


@dataclass
class _Copy:
    """The whole graph in memory, for those views of it that LightRAG's own storage computes."""

    graph: Any
    global_config: dict[str, Any]
    workspace: str

    async def _get_graph(self) -> Any:
        return self.graph


@dataclass
class PersistentGraphStorage(KeyStorage, BaseGraphStorage):  # type: ignore[misc]
    """Entities and their relations, which have no direction: a node is one key, an edge one of each of its nodes."""

    async def has_node(self, node_id: str) -> bool:
        """Return whether there is a node."""
        return bool(await self.has_nodes_batch([node_id]))

    async def has_nodes_batch(self, node_ids: list[str]) -> set[str]:
        """Return those nodes that exist."""
        return set(await self.get_nodes_batch(node_ids))

    async def has_edge(self, source_node_id: str, target_node_id: str) -> bool:
        """Return whether there is an edge."""
        return await self.get_edge(source_node_id, target_node_id) is not None

    async def get_node(self, node_id: str) -> dict[str, str] | None:
        """Return the properties of a node, or None."""
        return (await self.get_nodes_batch([node_id])).get(node_id)

    async def get_nodes_batch(self, node_ids: list[str]) -> dict[str, dict[str, Any]]:
        """Return the properties of those nodes that exist."""
        found = await self._values(map(_node, dict.fromkeys(node_ids)))
        return {value["id"]: value["data"] for value in found.values()}

    async def get_edge(self, source_node_id: str, target_node_id: str) -> dict[str, str] | None:
        """Return the properties of an edge, or None."""
        pair = {"src": source_node_id, "tgt": target_node_id}
        return (await self.get_edges_batch([pair])).get((source_node_id, target_node_id))

    async def get_edges_batch(self, pairs: list[dict[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the properties of those edges that exist."""
        keys = {(pair["src"], pair["tgt"]): _pair(pair["src"], pair["tgt"])[0] for pair in pairs}
        found = await self._values(dict.fromkeys(keys.values()))
        return {pair: found[key]["data"] for pair, key in keys.items() if key in found}

    async def _edge_keys(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the keys of the edges of nodes."""
        starts = {name: _edges(name) for name in names}
        found = await self._keys_of(starts.values())
        return {name: found[start] for name, start in starts.items()}

    async def node_degree(self, node_id: str) -> int:
        """Return how many edges a node has."""
        return (await self.node_degrees_batch([node_id]))[node_id]

    async def node_degrees_batch(self, node_ids: list[str]) -> dict[str, int]:
        """Return how many edges nodes have; 0 for one that is not there."""
        return {name: len(keys) for name, keys in (await self._edge_keys(node_ids)).items()}

    async def edge_degree(self, src_id: str, tgt_id: str) -> int:
        """Return how many edges the two nodes of an edge have."""
        return (await self.edge_degrees_batch([(src_id, tgt_id)]))[src_id, tgt_id]

    async def edge_degrees_batch(self, edge_pairs: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return how many edges the two nodes of each edge have."""
        degrees = await self.node_degrees_batch([name for pair in edge_pairs for name in pair])
        return {(source, target): degrees[source] + degrees[target] for source, target in edge_pairs}

    async def get_node_edges(self, source_node_id: str) -> list[tuple[str, str]] | None:
        """Return the edges of a node, from it; None: there is no such node."""
        if not await self.has_node(source_node_id):
            return None
        return (await self.get_nodes_edges_batch([source_node_id]))[source_node_id]

    async def get_nodes_edges_batch(self, node_ids: list[str]) -> dict[str, list[tuple[str, str]]]:
        """Return the edges of nodes, each from its node."""
        keys = await self._edge_keys(node_ids)
        found = await self._values(dict.fromkeys(key for some in keys.values() for key in some))

        def other(name: str, edge: dict[str, Any]) -> str:
            return str(edge["target"] if edge["source"] == name else edge["source"])

        return {name: [(name, other(name, found[key])) for key in some if key in found] for name, some in keys.items()}

    async def upsert_node(self, node_id: str, node_data: dict[str, str]) -> None:
        """Add a node, or the properties to those that it has."""
        await self.upsert_nodes_batch([(node_id, node_data)])

    async def upsert_nodes_batch(self, nodes: list[tuple[str, dict[str, str]]]) -> None:
        """Add nodes, or properties to nodes, in one step where the engine can."""
        values = await self._values(dict.fromkeys(_node(name) for name, _ in nodes))
        for name, data in nodes:
            before = values.get(_node(name), {"data": {}})
            values[_node(name)] = {"id": name, "data": {**before["data"], **data}}
        await self._write(values)

    async def upsert_edge(self, source_node_id: str, target_node_id: str, edge_data: dict[str, str]) -> None:
        """Add an edge, or the properties to those that it has; a node that is not there is added."""
        await self.upsert_edges_batch([(source_node_id, target_node_id, edge_data)])

    async def upsert_edges_batch(self, edges: list[tuple[str, str, dict[str, str]]]) -> None:
        """Add edges, or properties to edges, in one step where the engine can."""
        names = dict.fromkeys(name for edge in edges for name in edge[:2])
        keys = [_pair(source, target)[0] for source, target, _ in edges]
        before = await self._values(dict.fromkeys([*keys, *map(_node, names)]))
        values: dict[str, Any] = {_node(name): {"id": name, "data": {}} for name in names if _node(name) not in before}
        for source, target, data in edges:
            key, reverse = _pair(source, target)
            old = values.get(key) or before.get(key) or {"source": source, "target": target, "data": {}}
            values[reverse] = {"source": old["source"], "target": old["target"]}
            values[key] = {**old, "data": {**old["data"], **data}}
        await self._write(values)

    async def delete_node(self, node_id: str) -> None:
        """Remove a node with its edges."""
        await self.remove_nodes([node_id])

    async def remove_nodes(self, nodes: list[str]) -> None:
        """Remove nodes with their edges."""
        gone: dict[str, None] = dict.fromkeys(map(_node, nodes))
        for keys in (await self._edge_keys(nodes)).values():
            for key in keys:
                _, one, other = key.split("/")
                gone.update({key: None, f"e/{other}/{one}": None})
        await self._remove(gone)

    async def remove_edges(self, edges: list[tuple[str, str]]) -> None:
        """Remove edges."""
        await self._remove(dict.fromkeys(key for source, target in edges for key in _pair(source, target)))

    async def _all(self, start: str) -> Iterable[dict[str, Any]]:
        return (await self._values(await self._keys(start))).values()

    async def get_all_nodes(self) -> list[dict[str, Any]]:
        """Return all nodes: their properties, and their name as ``id``."""
        return [{**node["data"], "id": node["id"]} for node in await self._all("n/")]

    async def get_all_edges(self) -> list[dict[str, Any]]:
        """Return all edges: their properties, and the names of their nodes as ``source`` and ``target``."""
        edges = [edge for edge in await self._all("e/") if "data" in edge]
        return [{**edge["data"], "source": edge["source"], "target": edge["target"]} for edge in edges]

    async def get_all_labels(self) -> list[str]:
        """Return the names of all nodes, in their order."""
        return sorted(node["id"] for node in await self._all("n/"))

    async def _view(self, view: Any, *args: Any) -> Any:
        graph = networkx.Graph()
        graph.add_nodes_from((node["id"], node["data"]) for node in await self._all("n/"))
        edges = [edge for edge in await self._all("e/") if "data" in edge]
        graph.add_edges_from((edge["source"], edge["target"], edge["data"]) for edge in edges)
        return await view(_Copy(graph, self.global_config, self.workspace), *args)

    async def get_popular_labels(self, limit: int = 300) -> list[str]:
        """Return the names of the nodes with most edges, these first; reads the whole graph."""
        return await self._view(NetworkXStorage.get_popular_labels, limit)  # type: ignore[no-any-return]

    async def search_labels(self, query: str, limit: int = 50) -> list[str]:
        """Return the names that hold a text, best first; reads the whole graph."""
        return await self._view(NetworkXStorage.search_labels, query, limit)  # type: ignore[no-any-return]

    async def get_knowledge_graph(
        self, node_label: str, max_depth: int = 3, max_nodes: int | None = None
    ) -> KnowledgeGraph:
        """Return a part of the graph, around a node or (``*``) of those with most edges; reads the whole graph."""
        return await self._view(NetworkXStorage.get_knowledge_graph, node_label, max_depth, max_nodes)

"""Nodes of LlamaIndex as documents of ours, and back.

A document has the node's text and metadata, so that filters and other readers find them. The other fields of the node
are in the metadata under ``llamaindex``.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.bridge.pydantic import BaseModel, PrivateAttr
from llama_index.core.schema import BaseNode, MediaResource, NodeRelationship, RelatedNodeInfo, TextNode

from praisonai_persistence.errors import InvalidValueError, SerializationError
from praisonai_persistence.frameworks import class_named, has
from praisonai_persistence.records import KnowledgeDocument

__all__ = ["SOURCE", "dumped", "from_document", "to_document"]

SOURCE = "ref_doc_id"
"""The key of the id of the document that a node is from."""
_KEY = "llamaindex"


class KeptNode(TextNode):
    """Stands for a node that this release of LlamaIndex does not know in full, and is stored as what it was."""

    _kept: dict[str, Any] = PrivateAttr(default_factory=dict)


def to_document(node: BaseNode) -> KnowledgeDocument:
    """Return the document of a node.

    Raises:
        InvalidValueError: it is no node of LlamaIndex.
        SerializationError: it holds what is not JSON.
    """
    if not isinstance(node, BaseNode):
        raise InvalidValueError(f"a node must be a node of llama_index, not {type(node).__name__}")
    data = _fields(node)
    resource = data.get("text_resource")
    content = data.pop("text", None) if "text" in type(node).model_fields else None
    if isinstance(resource, dict) and resource.get("text"):
        content = resource.pop("text")
    own: dict[str, Any] = {"class": _name(type(node)), "data": data}
    if isinstance(node, KeptNode):
        own = {"class": node._kept.get("class"), "data": {**data, **node._kept["data"]}}
    taken = {key: node.metadata[key] for key in (_KEY, SOURCE) if key in node.metadata}
    if taken:
        own["metadata"] = taken
    metadata = {**node.metadata, _KEY: own}
    metadata.pop(SOURCE, None)
    source = node.relationships.get(NodeRelationship.SOURCE)
    if isinstance(source, RelatedNodeInfo):
        metadata[SOURCE] = source.node_id
    return KnowledgeDocument(node.node_id, content or "", node.embedding, metadata)


def from_document(document: KnowledgeDocument) -> BaseNode:
    """Return the node of a document, whoever wrote it."""
    metadata = dict(document.metadata or {})
    basic: dict[str, Any] = {"id_": document.id, "embedding": document.embedding}
    own = metadata.get(_KEY)
    if not isinstance(own, dict) or not isinstance(own.get("data"), dict):
        return TextNode(**basic, text=document.content, metadata=metadata)
    del metadata[_KEY]
    metadata.pop(SOURCE, None)
    basic["metadata"] = {**metadata, **own.get("metadata", {})}
    stored = own["data"]
    for cls in (class_named(BaseNode, own.get("class"), _name), KeptNode):
        data = {**stored, **basic}
        if cls is None:
            continue
        if "text" in cls.model_fields:
            data["text"] = document.content
        elif isinstance(stored.get("text_resource"), dict):
            data["text_resource"] = {"text": document.content, **stored["text_resource"]}
        try:
            node = cls.from_dict(data)
            if isinstance(node, KeptNode):
                node._kept = own
            if isinstance(node, KeptNode) or has(_fields(node), stored):
                return node
        except (AttributeError, LookupError, SerializationError, TypeError, ValueError):  # another release wrote it
            pass
    node = KeptNode(**basic, text=document.content)
    node._kept = own
    return node


def _fields(node: BaseNode) -> dict[str, Any]:
    return dumped(node, {"id_", "embedding", "metadata"})


def _name(cls: type[BaseNode]) -> str:
    return cls.__name__ if cls.__module__.startswith("llama_index.core.") else f"{cls.__module__}.{cls.__qualname__}"


def dumped(model: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """Return all fields as JSON, also the data of media, which LlamaIndex leaves out.

    Raises:
        SerializationError: a field holds what is not JSON.
    """
    try:
        data = model.model_dump(mode="json", exclude=exclude)
    except (TypeError, ValueError) as error:
        raise SerializationError(f"a {type(model).__name__} holds what is not JSON") from error
    for name, value in model:
        if isinstance(value, MediaResource) and value.data and name in data:
            data[name]["data"] = value.data.decode()
    return data

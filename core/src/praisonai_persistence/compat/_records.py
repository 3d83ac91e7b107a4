"""PraisonAI's ``KnowledgeDocument``: the record of this project, made as there."""

from __future__ import annotations

import hashlib
from typing import Any

from praisonai_persistence.records import KnowledgeDocument as _Document

__all__ = ["KnowledgeDocument"]


class _Making(type):
    """Makes records of this project's own class, and takes all of these for its own, also those that stores return."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = _Document(*args, **kwargs) if cls is KnowledgeDocument else super().__call__(*args, **kwargs)
        if made.content and not made.content_hash and isinstance(made.content, str):
            made.content_hash = hashlib.sha256(made.content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return made

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Document) if cls is KnowledgeDocument else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _Document) if cls is KnowledgeDocument else super().__subclasscheck__(subclass)


class KnowledgeDocument(_Document, metaclass=_Making):
    """A document, whose ``content_hash`` is made of its content where none is given."""

    __slots__ = ()

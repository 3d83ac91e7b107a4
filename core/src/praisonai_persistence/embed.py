"""What turns text into embeddings: a protocol, because stores take vectors and the model is the caller's choice.

Any object with these two members is an embedder; none is part of this package::

    vectors = embedder.embed([document.content for document in documents])
    store.create_collection("docs", dimension=embedder.dimension)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AsyncEmbedder", "Embedder"]


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into embeddings."""

    @property
    def dimension(self) -> int:
        """The length of every embedding."""
        ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one embedding for each text, in order; finite numbers, ``dimension`` of them each."""
        ...


@runtime_checkable
class AsyncEmbedder(Protocol):
    """[Embedder][] for async callers."""

    @property
    def dimension(self) -> int:
        """The length of every embedding."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See [Embedder.embed][]."""
        ...

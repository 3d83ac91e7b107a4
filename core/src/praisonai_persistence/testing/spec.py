"""How to open a store: data, so that another process can open the same one."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Endpoint", "StoreSpec"]


@dataclass(frozen=True)
class StoreSpec:
    """What a suite needs to open one store as often as it likes, sync or async, in this process or in another.

    ``StoreSpec("state", sync="mine:Store", async_="mine:AsyncStore", options={"path": str(tmp_path / "x.db")})``

    Attributes:
        kind: ``conversation``, ``knowledge`` or ``state``.
        sync: ``"module:attribute"`` of the sync class or factory, or None where there is none.
        async_: the same of the async one.
        options: keyword arguments for both; values that JSON can hold.
    """

    kind: str
    sync: str | None = None
    async_: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def with_options(self, **changes: Any) -> StoreSpec:
        """Return the spec with some options changed or added."""
        return replace(self, options={**self.options, **changes})

    def has(self, mode: str) -> bool:
        """Whether there is a store of that mode, ``sync`` or ``async``."""
        return self._reference(mode) is not None

    def open(self, mode: str) -> Any:
        """Construct a new store object of that mode; it is the caller's to close."""
        reference = self._reference(mode)
        if reference is None:
            raise ValueError(f"this spec names no {mode} store")
        return _load(reference)(**self.options)

    def open_sync(self) -> Any:
        """Construct a sync store."""
        return self.open("sync")

    def open_async(self) -> Any:
        """Construct an async store."""
        return self.open("async")

    def to_json(self) -> str:
        """Return the spec as JSON text."""
        return json.dumps({"kind": self.kind, "sync": self.sync, "async_": self.async_, "options": dict(self.options)})

    @classmethod
    def from_json(cls, text: str) -> StoreSpec:
        """Return the spec that [to_json][StoreSpec.to_json] wrote."""
        return cls(**json.loads(text))

    def _reference(self, mode: str) -> str | None:
        return {"sync": self.sync, "async": self.async_}[mode]


class Endpoint(NamedTuple):
    """Where a server listens, and how to have a store reach it by another way.

    Attributes:
        host: of the server.
        port: of the server.
        spec_at: takes the host and the port that the store is to connect to, of a proxy; returns a spec of a store on
            the same data as the test's ``spec``.
    """

    host: str
    port: int
    spec_at: Callable[[str, int], StoreSpec]


def _load(reference: str) -> Any:
    module, _, path = reference.partition(":")
    # A test module may stand in sys.modules under a name that cannot be imported.
    found = sys.modules.get(module) or importlib.import_module(module)
    return reduce(getattr, path.split("."), found)

"""What the lifecycle suite asks of a backend's tests, for specs with a ``url`` and for specs with a ``path``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from praisonai_persistence.testing import Endpoint, StoreSpec

__all__ = ["Embedded", "Networked", "Volume"]


class Networked:
    """The server of the spec's URL can be reached through a proxy."""

    @pytest.fixture
    def spec_through(self, spec: StoreSpec) -> Endpoint:
        url = spec.options["url"]
        server = urlsplit(url)
        address = server.netloc.rpartition("@")[2]

        def spec_at(host: str, port: int) -> StoreSpec:
            return spec.with_options(url=url.replace(address, f"{host}:{port}", 1))

        return Endpoint(server.hostname, server.port, spec_at)


class Embedded:
    """The store makes what the spec's path names."""

    @pytest.fixture
    def place(self, spec: StoreSpec) -> Path:
        return Path(spec.options["path"])


class Volume:
    """What comes nearest to a server for an embedded engine: a volume that is unmounted and mounted again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._away = path.with_name("unmounted")

    def stop(self) -> None:
        self._path.rename(self._away)

    def start(self) -> None:
        self._away.rename(self._path)

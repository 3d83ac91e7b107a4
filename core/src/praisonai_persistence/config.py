"""Which stores an application uses, from its environment or its code."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.urls import mask, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PersistenceConfig"]

_VARIABLES = {
    "conversation_url": "PRAISON_CONVERSATION_URL",
    "knowledge_url": "PRAISON_KNOWLEDGE_URL",
    "state_url": "PRAISON_STATE_URL",
}


@dataclass(frozen=True, slots=True, repr=False)
class PersistenceConfig:
    """A URL for each kind of store, None for none, and the options of its backend.

    Attributes:
        conversation_url: e.g. ``sqlite:///agent.db``.
        knowledge_url: likewise.
        state_url: likewise.
        conversation_options: keywords for the conversation backend.
        knowledge_options: likewise.
        state_options: likewise.
    """

    conversation_url: str | None = None
    knowledge_url: str | None = None
    state_url: str | None = None
    conversation_options: dict[str, Any] = field(default_factory=dict)
    knowledge_options: dict[str, Any] = field(default_factory=dict)
    state_options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:  # options may hold secrets, so only their names
        parts = [
            f"{name}={None if url is None else mask(url)!r}"
            for name, url in ((name, getattr(self, name)) for name in _VARIABLES)
        ]
        return f"PersistenceConfig({', '.join(parts)})"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> PersistenceConfig:
        """Read ``PRAISON_CONVERSATION_URL``, ``PRAISON_KNOWLEDGE_URL`` and ``PRAISON_STATE_URL``; empty is unset.

        Args:
            environ: another mapping than ``os.environ``.

        Raises:
            ConfigurationError: one of them is not a store URL; the message names the variable and masks secrets.
        """
        source = os.environ if environ is None else environ
        urls: dict[str, Any] = {}
        for name, variable in _VARIABLES.items():
            url = source.get(variable, "").strip()
            if url:
                try:
                    parse_url(url)
                except ConfigurationError as error:
                    raise ConfigurationError(f"{variable}: {error}") from None
                urls[name] = url
        return cls(**urls)

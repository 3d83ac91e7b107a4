"""Names of backends in any case, and the methods of a registry under the names that PraisonAI has for them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["PraisonAINames", "spelled"]


def spelled(name: str, names: set[str]) -> str:
    """Return which of some names is meant: the same, or else the one in lower case, or the only one alike."""
    if name in names:
        return name
    if name.lower() in names:
        return name.lower()
    alike = [other for other in names if other.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else name


class PraisonAINames:
    """Mixed into ``StoreRegistry``."""

    adapt: Callable[[str, str, Any], Any] | None = None
    """Makes what constructs a store of a kind and a name of the factory of a plugin; ``compat`` sets it."""
    further: Callable[[str, dict[str, list[Any]], dict[str, list[Any]]], None] | None = None
    """Puts into the entries of a kind by name, and by alias, what else there is; ``compat`` sets it."""
    absent: Callable[[str, str], str | None] | None = None
    """Says where a backend of a kind and a name can be had that is not here; ``compat`` sets it."""

    def _complete(self: Any, points: Any, read: Callable[[str], Any]) -> None:
        """Put what a registry of PraisonAI has beside its group into the entries and aliases of that group."""
        if self.further is None or not self.group:
            return
        usual = f"praisonai.{self.kind}_stores"
        if self.group != usual:  # it has its backends beside those of any group
            for table, more in zip(points, read(usual), strict=True):
                table.update({name: found for name, found in more.items() if name not in table})
        self.further(self.kind, points.entries, points.aliases)

    def _adapted(self: Any, name: str, factory: Any, distribution: str) -> Any:
        return factory if self.adapt is None or not distribution else self.adapt(self.kind, name, factory)

    def register_store(self: Any, name: str, factory: Callable[..., Any], *, aliases: Iterable[str] = ()) -> None:
        """Do the same as ``register``, but let no alias take the name of another backend, installed or not.

        Raises:
            ConfigurationError: as for ``register``, and such an alias.
        """
        from praisonai_persistence.errors import ConfigurationError

        if not isinstance(aliases, str):  # which register refuses
            aliases = list(aliases)
            for alias in aliases:
                if alias != name and alias in self.list_registered():
                    raise ConfigurationError(
                        f"{alias!r} is a {self.kind} backend, it cannot be an alias of {name!r}; to replace that one, "
                        f"register it under its own name"
                    )
        self.register(name, factory, aliases=aliases)

    def unregister(self: Any, name: object) -> bool:
        """Forget a backend that was registered at run time, with its aliases; return whether there was one.

        Of an alias, forget the alias alone. A plugin of that name is there again after it. Plugins and their aliases
        cannot be forgotten: they are installed.
        """
        if not isinstance(name, str):
            return False
        with self._lock:
            own = spelled(name, {*self._registered, *self._registered_aliases})
            if own in self._registered_aliases:
                del self._registered_aliases[own]
                return True
            self._registered_aliases = {a: of for a, of in self._registered_aliases.items() if of != own}
            return self._registered.pop(own, None) is not None

    def resolve(self: Any, name: str) -> Callable[[], Callable[..., Any]]:
        """Return what loads the factory of a name or alias: ``resolve("sqlite")()(path="agent.db")`` is a store.

        Raises:
            UnknownBackendError: there is none of that name.
        """
        entry = self._find(name)
        return lambda: self._adapted(entry.name, entry.load(self.kind), entry.distribution)

    def list_names(self: Any) -> list[str]:
        """Do the same as ``list_registered``."""
        return self.list_registered()  # type: ignore[no-any-return]

    def list_all_names(self: Any) -> list[str]:
        """Return the names of all backends and their aliases, sorted."""
        return sorted({*self.list_registered(), *self.list_aliases()})

    def is_available(self: Any, name: str) -> bool:
        """Whether a backend of that name or alias is there, and what it needs can be imported."""
        from praisonai_persistence.errors import PersistenceError

        try:
            self._find(name).load(self.kind)
        except PersistenceError:
            return False
        return True

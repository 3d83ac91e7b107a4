"""Everything that a store, a registry or a factory raises.

One tree, rooted at [PersistenceError][]. Where Python has a built-in exception of the same meaning, ours derives from
it too, so ``except ValueError`` and ``except KeyError`` keep working. No message holds a password, a token or message
text.
"""

from __future__ import annotations

__all__ = [
    "AmbiguousBackendError",
    "BackendError",
    "BackendNotInstalledError",
    "BrokenPluginError",
    "CollectionExistsError",
    "CollectionNotFoundError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "DimensionError",
    "DimensionLimitError",
    "DocumentExistsError",
    "DuplicateMessageError",
    "FilterError",
    "InvalidIdentifierError",
    "InvalidValueError",
    "PersistenceError",
    "SchemaError",
    "SerializationError",
    "SessionExistsError",
    "SessionNotFoundError",
    "StoreClosedError",
    "StoreNotFoundError",
    "UnknownBackendError",
    "UnknownOptionError",
    "UnsupportedOperationError",
    "WrongTypeError",
]


class PersistenceError(Exception):
    """Root of everything that this project raises on purpose."""


# KeyError prints the repr of its argument; a sentence should be printed as a sentence.
class _SentenceError(PersistenceError):
    def __str__(self) -> str:
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


class UnknownBackendError(PersistenceError, ValueError):
    """No backend of that name, alias or URL scheme; the message lists what is installed and the nearest spelling."""


class BackendNotInstalledError(UnknownBackendError, ImportError):
    """A known backend whose plugin, or whose driver, is not installed; the message has the exact pip line."""


class AmbiguousBackendError(PersistenceError):
    """Two distributions claim one backend name; the message says how to choose."""


class BrokenPluginError(PersistenceError):
    """A plugin's own code failed while it was loaded; the message names its distribution and its object."""


class ConfigurationError(PersistenceError, ValueError):
    """An option, a URL or an environment variable that cannot be used."""


class UnknownOptionError(ConfigurationError, TypeError):
    """An option that nobody takes; the message has the nearest name, or all of them."""


class InvalidIdentifierError(ConfigurationError):
    """An identifier that would reach DDL (prefix, schema, collection) has characters or a length that none may have."""


class InvalidValueError(PersistenceError, ValueError):
    """An argument outside what the contract allows: an id, a key, a limit, a time to live."""


class ConnectionFailedError(PersistenceError, ConnectionError):
    """The engine could not be reached, refused us, or went away."""


class StoreClosedError(PersistenceError):
    """A call after ``close()``."""


class StoreNotFoundError(PersistenceError):
    """The store must exist already (``must_exist=True``), and there is nothing of it; nothing was made."""


class UnsupportedOperationError(PersistenceError):
    """This engine cannot do that; the message says which can."""


class SerializationError(PersistenceError, ValueError):
    """A value that is not JSON (NaN, infinities, tuples, bytes, keys that are not text), or one over the size limit."""


class SessionNotFoundError(_SentenceError, KeyError):
    """The call needs a session that does not exist."""


class SessionExistsError(PersistenceError):
    """A session of that id exists already; it is untouched."""


class ConflictError(PersistenceError):
    """The stored version is not the expected one: another writer was first."""


class DuplicateMessageError(PersistenceError):
    """A message of that id, with other content, exists already in the session; nothing was written."""


class CollectionNotFoundError(_SentenceError, KeyError):
    """The call needs a collection that does not exist."""


class CollectionExistsError(PersistenceError):
    """A collection of that name exists with another dimension, distance or metadata."""


class DocumentExistsError(PersistenceError):
    """A document of that id exists already; nothing of the batch was written."""


class DimensionError(PersistenceError, ValueError):
    """An embedding is missing, empty, or of another length than its collection's dimension, or that is too large."""


class DimensionLimitError(DimensionError, ConfigurationError):
    """A collection's dimension is more than its engine takes, as it is configured; nothing was made."""


class FilterError(PersistenceError, ValueError):
    """A metadata filter that the language does not have, or that this engine cannot express."""


class WrongTypeError(PersistenceError, TypeError):
    """A plain operation on a hash key, the reverse, or arithmetic on a value that is no integer; nothing changed."""


class SchemaError(PersistenceError):
    """Tables older or newer than this version reads; the message names the command that helps.

    Attributes:
        script: the SQL that makes what is missing, where the user has to run it; None: the command does all.
    """

    script: str | None = None


class BackendError(PersistenceError):
    """Whatever else the driver raised; the driver's own exception is ``__cause__``."""

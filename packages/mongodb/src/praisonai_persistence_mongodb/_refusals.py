"""What the errors of PyMongo and of the servers are for a store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SerializationError,
    UnsupportedOperationError,
)
from praisonai_persistence.stores import MovedError

if TYPE_CHECKING:
    from praisonai_persistence.errors import PersistenceError

__all__ = ["refused"]

_DUPLICATE, _UNAUTHORIZED, _LOGIN, _TOO_LATE, _TOO_LARGE = 11000, {13, 8000}, {18}, {50, 64}, {10334, 17419, 17420}
_CONFLICT = 112
"""Two transactions write one document; nothing of ours was written."""
_NO_SEARCH = {59, 31082, 40324, 6047401, None}
"""What servers without vector search answer to its commands: none of the name, none configured, only in Atlas."""
_AZURE = {2: "Similarity index was not found", 40415: "'$vectorSearch.exact' is an unknown field"}
"""What Azure DocumentDB answers to ``$vectorSearch`` without an index: codes, and parts of messages."""
_ATLAS, _SEARCHES = 8000, 489
_OVERLOADED = {462, 473, _SEARCHES}
"""What servers answer that have too much to do: ``IngressRequestRateLimitExceeded``, ``InterruptedDueToOverload``,
``SearchRequestRejectedDueToOverload``."""
_FULL = ("quota", "already using")
"""What Atlas's error says where its cluster has no more room: for data, for collections."""
_LACKING = {20, 59, 115, 238, 40324}
"""What servers answer to what they do not have: illegal here, no such command, not supported, not implemented."""


def refused(error: Exception, where: str, database: str, timeout: float) -> PersistenceError:
    """Return our error for one of PyMongo's, or of what it calls.

    Args:
        error: PyMongo's.
        where: what errors call the servers.
        database: of the store.
        timeout: seconds in which a server has to answer.
    """
    from pymongo import errors

    code, message = getattr(error, "code", None), _message(error)
    if isinstance(error, errors.BulkWriteError):
        failed = (error.details or {}).get("writeErrors", [])
        codes = {one.get("code") for one in failed}
        if codes == {_DUPLICATE}:
            return MovedError("documents were written meanwhile")
        code = next(iter(codes - {_DUPLICATE}), 64)
    if code in {_DUPLICATE, _CONFLICT}:
        return MovedError("the document was written meanwhile")
    if code in _NO_SEARCH and isinstance(error, errors.OperationFailure) and "earch" in message:
        return UnsupportedOperationError(
            f"{where} has no vector search: take vector_search='exact', MongoDB Atlas, or a server with mongot"
        )
    if code in _AZURE and _AZURE[code] in message:
        return UnsupportedOperationError(
            f"{where} has the vector search of Azure DocumentDB, and no such index: take vector_search='cosmos' or "
            f"'exact', and make the collection anew"
        )
    if code in _OVERLOADED or _has_label(error, "SystemOverloadedError"):
        what = "searches" if code == _SEARCHES else "requests"
        # The code and other labels are those of the last attempt: PyMongo may have made one before it.
        nothing = code == _SEARCHES or _has_label(error, "NoWritesPerformed")
        done = "" if nothing else "; a write may have been done all the same"
        return ThrottledError(f"{where} has had too many {what} for now; try again later, or raise timeout{done}")
    if code in _LACKING:
        return UnsupportedOperationError(
            f"{where} lacks what the store asks for ({_said(error)}): take MongoDB, or a server more like it"
        )
    if code == _ATLAS and any(text in message for text in _FULL):
        return BackendError(f"{where} has no more room: delete documents or collections, or take a larger cluster")
    allowed = code != _ATLAS or "not allowed" not in message
    if code == _ATLAS and allowed and "index" in message:
        return BackendError(f"{where} has no room for another index")
    if code in _LOGIN or (code == _ATLAS and allowed):
        return ConnectionFailedError(f"{where} refuses the login: check user, password and authSource")
    if code in _UNAUTHORIZED:
        return ConnectionFailedError(
            f"{where} does not allow that: the user needs the role readWrite on the database {database!r}"
        )
    if code in _TOO_LARGE or isinstance(error, errors.DocumentTooLarge):
        return SerializationError("MongoDB's documents end at 16 MiB, with the names of their fields")
    if isinstance(error, errors.InvalidURI):
        return ConfigurationError("the URL is none that MongoDB's clients can read")
    if isinstance(error, errors.ConfigurationError):
        if type(error.__cause__).__module__.startswith("dns."):
            return ConnectionFailedError(f"{where} cannot be looked up: check the host of the URL")
        return ConfigurationError(f"{where}: an option of the client is wrong, or PyMongo is too new for the server")
    if isinstance(error, (FileNotFoundError, PermissionError)):
        return ConfigurationError(f"a file that the options of the client name cannot be read: {type(error).__name__}")
    unseen = isinstance(error, errors.ServerSelectionTimeoutError)
    if code in _TOO_LATE or (getattr(error, "timeout", False) and not unseen):
        return ConnectionFailedError(f"{where} did not answer within {timeout:g} seconds")
    if isinstance(error, errors.ConnectionFailure | errors.InvalidOperation) or _is_away(error):
        return ConnectionFailedError(
            f"{where} cannot be reached ({type(error).__name__}): is it running, and are host, port and TLS right?"
        )
    told = "" if code is None else f" {code}"
    return BackendError(f"{where} failed: {type(error).__name__}{told}")


def _has_label(error: Exception, label: str) -> bool:
    from pymongo.errors import OperationFailure  # others have this label where no connection could be made, too

    return isinstance(error, OperationFailure) and error.has_error_label(label)


def _message(error: Any) -> str:
    """Return the server's own message. The text of an error has also what was sent, such as documents."""
    details = getattr(error, "details", None)
    if not isinstance(details, Mapping):  # None, or a list of what each server said
        return str(error)
    parts = [details, *details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    said = [str(part["errmsg"]) for part in parts if part.get("errmsg")]
    return " ".join(said) if said or "writeErrors" in details else str(error)


def _said(error: Any) -> str:
    """Return what a server says that it lacks, without what was sent."""
    details = getattr(error, "details", None) or {}
    named = re.search(r"(?:command|stage|operator)[^'$\w]*'?([$\w]+)", str(details.get("errmsg", "")))
    return " ".join(filter(None, (str(details.get("codeName") or getattr(error, "code", "")), named and named[1])))


def _is_away(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] == "dns"

"""What a status of the service is for, where it has several reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.errors import PersistenceError

__all__ = ["refused"]


class _Reason(NamedTuple):
    """Why the service refuses.

    Attributes:
        statuses: of HTTP.
        code: the sub-status; 0: it has none of its own.
        texts: parts of messages, in lower case, of services that do not say the sub-status.
        error: the class of our error.
        way_out: what it says behind the name of the service.
    """

    statuses: frozenset[int]
    code: int
    texts: tuple[str, ...]
    error: Callable[[str], PersistenceError]
    way_out: str


_WRONG, _FORBIDDEN, _ABSENT = frozenset({400, 403}), frozenset({403}), frozenset({404})
_LATER = "; try again later, or raise timeout"
_FEATURE = "turn on the feature 'Vector Search for NoSQL API' of the account, which takes some 15 minutes"
_SHARED = "has no vector search in a database whose containers share their throughput: give another database=..."
_LOGICAL = (
    "has no more room in this collection (20 GB). Use another, or delete documents with freshness='own': with 'all' "
    "each read writes an item, which is refused too"
)
_THROUGHPUT = "raise the account's limit, delete a container, or take a serverless account"
_NETWORK = "does not let this network in: see its firewall, under Networking in the portal"
_REGION = "is a region that takes no writes: give the endpoint of the account, not that of a region"
_REASONS = (
    _Reason(_ABSENT, 1002, (), ThrottledError, f"has a replica that is behind{_LATER}"),
    _Reason(_ABSENT, 1013, (), ThrottledError, f"is still making a container{_LATER}"),
    _Reason(
        _WRONG, 0, ("capability has not been enabled",), ConfigurationError, f"has no vector search yet: {_FEATURE}"
    ),
    _Reason(_WRONG, 1010, ("shared throughput",), ConfigurationError, _SHARED),
    _Reason(_WRONG, 0, ("total throughput",), BackendError, f"has no throughput left for a container: {_THROUGHPUT}"),
    _Reason(_FORBIDDEN, 1014, ("partition key reached maximum",), BackendError, _LOGICAL),
    _Reason(_FORBIDDEN, 0, ("firewall", "originated from"), ConnectionFailedError, _NETWORK),
    _Reason(_FORBIDDEN, 3, (), ConnectionFailedError, _REGION),
    _Reason(
        _FORBIDDEN,
        1005,
        ("maximum", "quota", "exceed"),
        BackendError,
        "has no room for more: see its quotas in the portal",
    ),
)


def refused(where: str, status: int, code: int, said: str) -> PersistenceError | None:
    """Return our error for what the service refused; None: the status says all.

    Args:
        where: what errors call the service.
        status: of HTTP.
        code: the sub-status; 0: there is none.
        said: its message, in lower case.
    """
    for reason in _REASONS:
        if status in reason.statuses and ((code and code == reason.code) or any(text in said for text in reason.texts)):
            return reason.error(f"{where} {reason.way_out}")
    return None

"""Errors of services: by class, by text, by status and by gRPC code."""

from __future__ import annotations

import enum

import pytest

from praisonai_persistence.drivers import HttpErrors, ThrottledError
from praisonai_persistence.errors import BackendError, ConnectionFailedError
from praisonai_persistence.stores.vector_errors import GoneError, TakenError

ERRORS = HttpErrors("the server", gone=["no such thing", "nowhere"], taken=["is there"])


class Code(enum.Enum):
    """As gRPC has them."""

    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    UNAVAILABLE = 14
    INTERNAL = 13


class GrpcError(Exception):
    def __init__(self, code: Code) -> None:
        super().__init__("it failed")
        self._code = code

    def code(self) -> Code:
        return self._code


class StatusError(Exception):
    def __init__(self, status: int, text: str = "it failed") -> None:
        super().__init__(text)
        self.status_code = status


class SilentError(Exception):
    pass


def raised(error: Exception, *, cause: Exception | None = None, handled: Exception | None = None) -> Exception:
    """Return an error as it comes out of a client."""
    try:
        if handled is None:
            raise error from cause
        try:
            raise handled
        except Exception:
            raise error  # noqa: B904 - a client that does so
    except Exception as found:
        return found


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StatusError(404), GoneError),
        (StatusError(409), TakenError),
        (StatusError(401), ConnectionFailedError),
        (StatusError(503), ConnectionFailedError),
        (StatusError(500), BackendError),
        (StatusError(422, "it is there already"), TakenError),
        (StatusError(500, "that is nowhere"), GoneError),
        (GrpcError(Code.NOT_FOUND), GoneError),
        (GrpcError(Code.UNAVAILABLE), ConnectionFailedError),
        (GrpcError(Code.INTERNAL), BackendError),
        (SilentError(), ConnectionFailedError),
        (ValueError("it failed"), BackendError),
        (raised(ValueError("it failed"), cause=GrpcError(Code.PERMISSION_DENIED)), ConnectionFailedError),
        (raised(ValueError("it failed"), handled=GrpcError(Code.NOT_FOUND)), GoneError),
        (raised(ValueError("it failed"), cause=SilentError()), ConnectionFailedError),
        (raised(ValueError("it failed"), handled=SilentError()), ConnectionFailedError),
        # The status of the client's own error may be another one's number: 7 is gRPC's.
        (raised(StatusError(7), handled=GrpcError(Code.PERMISSION_DENIED)), ConnectionFailedError),
    ],
)
def test_what_an_error_means(error, kind):
    found = ERRORS.read(error, SilentError)
    assert type(found) is kind
    assert "it failed" not in str(found)
    assert "the server" in str(found)


def test_texts_are_not_looked_at_unless_they_are_named():
    assert type(HttpErrors("the server").read(StatusError(500, "that is nowhere"))) is BackendError


def test_a_late_answer_may_be_that_of_a_write_that_was_done():
    found = ERRORS.late()
    assert type(found) is ConnectionFailedError
    assert "can be repeated" in str(found)


class Response:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


def with_headers(status: int, headers: dict[str, str], *, of_response: bool) -> StatusError:
    error = StatusError(status)
    if of_response:
        error.response = Response(headers)
    else:
        error.headers = headers
    return error


@pytest.mark.parametrize("of_response", [True, False])
def test_an_answer_that_says_when_to_come_again(of_response):
    error = with_headers(429, {"Retry-After": "12"}, of_response=of_response)
    for found in (
        ERRORS.read(error),
        ERRORS.read(raised(ValueError("it failed"), cause=error)),
        ERRORS.error(429, error),
    ):
        assert isinstance(found, ThrottledError)
        assert found.retry_after == 12
        assert str(found).endswith("try again later; the service asks to wait 12 seconds")


def test_what_a_service_that_is_out_of_order_was_asked_may_have_been_done():
    for status, headers in ((503, {}), (503, {"Retry-After": "3"}), (502, {"Retry-After": "1"})):
        found = ERRORS.read(with_headers(status, headers, of_response=True))
        assert type(found) is ConnectionFailedError
        assert ("asks to wait 3 seconds" in str(found)) == (headers == {"Retry-After": "3"})
    assert ERRORS.read(with_headers(429, {}, of_response=True)).retry_after is None


def test_a_stranger():
    assert str(ERRORS.strange("Acme")) == "the server does not answer as Acme does; check the URL"
    assert str(ERRORS.strange("Acme", "host=", "Fly")) == "the server does not answer to Fly as Acme does; check host="

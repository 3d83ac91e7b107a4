"""Waiting while a service is too busy."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from praisonai_persistence.drivers import Pauses, ThrottledError
from praisonai_persistence.drivers.throttling import retry_after
from praisonai_persistence.steps import Pause, run


def waited(pauses: Pauses, asked: float | None = None) -> float:
    found: list[Pause] = []
    run(pauses.wait(ThrottledError("busy", asked)), found.append)
    return sum(pause.seconds for pause in found)


def test_waits_are_random_and_grow_up_to_a_limit():
    every = [Pauses(1000, first=1) for _ in range(200)]
    for longest in (1, 2, 4, 8, 8):
        waits = [waited(pauses) for pauses in every]
        assert longest * 0.8 < max(waits) <= longest
        assert min(waits) < longest * 0.2


def test_the_last_error_is_raised_where_no_time_is_left():
    with pytest.raises(ThrottledError, match="busy"):
        waited(Pauses(0))


def test_a_request_is_made_again_until_it_is_answered():
    answers = [ThrottledError("busy"), ThrottledError("busy"), "the answer"]
    asked = []

    def answer(request):
        asked.append(request)
        if isinstance(request, Pause):
            return None
        found = answers.pop(0)
        if isinstance(found, ThrottledError):
            raise found
        return found

    assert run(Pauses(1000, first=0.001).ask("a request"), answer) == "the answer"
    assert [type(request) for request in asked] == [str, Pause, str, Pause, str]


def test_what_the_service_asks_for_comes_before_the_random_wait():
    every = [waited(Pauses(1000, first=1), 20.0) for _ in range(100)]
    assert 20 <= min(every) < 20.2 < 20.8 < max(every) <= 21


def test_the_random_wait_ends_with_the_time_that_is_left():
    assert all(1 <= waited(Pauses(1.1, first=60), 1.0) <= 1.1 for _ in range(20))


def test_who_asks_to_wait_longer_is_given_up_at_once():
    with pytest.raises(ThrottledError, match=r"^busy; the service asks to wait 5\.5 seconds$") as caught:
        waited(Pauses(5), 5.5)
    assert caught.value.retry_after == 5.5
    assert ThrottledError("busy").retry_after is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-1"}, 0.0),
        ({"Retry-After": "0"}, 0.0),
        ({"x-ms-retry-after-ms": "20"}, 0.02),
        ({"x-ms-retry-after-ms": "20", "Retry-After": "1"}, 0.02),
        # A date counts from that of the answer, whatever this machine's clock says.
        (
            {"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"},
            30.0,
        ),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00"}, 0.0),
        *[({"Retry-After": text}, None) for text in ("", "soon", "nan", "inf", "Wed, 99 Oct 2015 07:28:00 GMT")],
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 +99999999999999"}, None),
        ({"x-ms-retry-after-ms": "soon"}, None),
        ({"x-ms-retry-after-ms": "soon", "Retry-After": "7"}, 7.0),
    ],
)
def test_what_headers_ask_for(headers, seconds):
    assert retry_after(headers) == seconds


def test_a_date_without_that_of_the_answer_counts_from_now():
    found = retry_after({"Retry-After": formatdate(time.time() + 100, usegmt=True)})
    assert found == pytest.approx(100, abs=2)

"""Waiting while a service is too busy."""

from __future__ import annotations

import pytest

from praisonai_persistence.drivers import Pauses, ThrottledError
from praisonai_persistence.steps import Pause, run


def waited(pauses: Pauses) -> float:
    found: list[Pause] = []
    run(pauses.wait(ThrottledError("busy")), found.append)
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

"""One logic for sync and async: the two loops behave the same."""

import asyncio

import pytest

from praisonai_persistence.steps import done, is_write, reads, run, run_async, writes


@pytest.fixture(params=["sync", "async"])
def drive(request):
    """Run steps with a plain function as driver, in both modes."""
    if request.param == "sync":
        return run

    def drive_async(steps, perform):
        async def perform_async(asked):
            await asyncio.sleep(0)
            return perform(asked)

        return asyncio.run(run_async(steps, perform_async))

    return drive_async


def test_answers_come_back_at_the_yield(drive):
    def steps():
        first = yield "a"
        second = yield first * 2
        return [first, second]

    asked = []

    def perform(what):
        asked.append(what)
        return f"<{what}>"

    assert drive(steps(), perform) == ["<a>", "<<a><a>>"]
    assert asked == ["a", "<a><a>"]


def test_steps_that_ask_for_nothing(drive):
    def refuse(what):
        raise AssertionError(what)

    assert drive(done(5), refuse) == 5
    assert drive(done(None), refuse) is None


def test_steps_in_steps(drive):
    def inner(number):
        return (yield number) + 1

    def outer():
        return (yield from inner(1)) * (yield from inner(10))

    assert drive(outer(), lambda number: number * 2) == 3 * 21


def test_an_error_of_the_driver_is_raised_at_the_yield(drive):
    log = []

    def steps():
        try:
            yield "bad"
        except KeyError as error:
            log.append(error.args)
            answer = yield "good"
        finally:
            log.append("cleaned up")
        return answer

    def perform(what):
        if what == "bad":
            raise KeyError("lost")
        return what

    assert drive(steps(), perform) == "good"
    assert log == [("lost",), "cleaned up"]


def test_steps_may_end_while_they_handle_an_error(drive):
    def steps():
        try:
            yield "bad"
        except ZeroDivisionError:
            return "handled"

    assert drive(steps(), lambda _: 1 / 0) == "handled"


def test_an_error_that_is_not_handled_reaches_the_caller_as_it_is(drive):
    problem = ZeroDivisionError("of the driver")
    log = []

    def steps():
        try:
            yield "x"
        finally:
            log.append("cleaned up")

    def perform(_):
        raise problem

    with pytest.raises(ZeroDivisionError) as caught:
        drive(steps(), perform)
    assert caught.value is problem
    assert log == ["cleaned up"]


def test_an_error_of_the_steps_themselves(drive):
    def at_once():
        raise ValueError("before the first request")
        yield

    def later():
        yield "x"
        raise ValueError("after it")

    for steps in (at_once, later):
        with pytest.raises(ValueError, match="it|before"):
            drive(steps(), str)


def test_a_driver_that_raises_stop_iteration_does_not_end_the_steps_quietly(drive):
    def steps():
        yield "x"
        return "never"

    def perform(_):
        raise StopIteration("from the driver")

    with pytest.raises(RuntimeError):
        drive(steps(), perform)


def test_a_cancelled_driver_is_not_answered():
    log = []

    def steps():
        try:
            yield "wait"
        except Exception:
            log.append("took the cancellation for an error")
        finally:
            log.append("cleaned up")

    async def main():
        started = asyncio.Event()

        async def perform(_):
            started.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(run_async(steps(), perform))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["cleaned up"]


def test_marks():
    @reads
    def reading():
        pass

    @writes
    def writing():
        pass

    class Steps:
        @reads
        def method(self):
            pass

    assert not is_write(reading)
    assert is_write(writing)
    assert not is_write(Steps().method)
    assert is_write(lambda: None)  # not marked: to be safe

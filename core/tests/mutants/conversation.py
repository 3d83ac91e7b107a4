"""Conversation stores with one fault each: the in-memory reference, and one thing done wrong.

Each is what somebody would write by mistake. The table in ``test_kit_mutants_conversation.py`` says what is wrong with
it, and which clause must catch it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import tempfile
import threading
import unicodedata
from pathlib import Path
from typing import Any

from mutants.running import pause

from praisonai_persistence.conversation import ConversationStore
from praisonai_persistence.errors import PersistenceError, SessionExistsError, SessionNotFoundError
from praisonai_persistence.memory import MemoryConversationSteps, MemoryConversationStore
from praisonai_persistence.memory._data import open_data
from praisonai_persistence.payload import (
    check_prefix,
    decode_message,
    decode_messages,
    decode_session,
    decode_text,
    next_updated_at,
)
from praisonai_persistence.records import ConversationSession
from praisonai_persistence.steps import done
from praisonai_persistence.stores import DirectRunner, StepConversationStore
from praisonai_persistence.stores.conversation import Selection, WholeSession, query_words


class Pause:
    """Widens a race without sleeping: waits until another thread is at the same place, or none comes."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def __call__(self) -> None:
        try:
            self._barrier.wait(0.01)
        except threading.BrokenBarrierError:
            self._barrier.reset()


class Broken(MemoryConversationStore):
    """The reference on steps of one's own: ``Steps`` of the subclass."""

    Steps = MemoryConversationSteps

    def __init__(self, *, name: str, table_prefix: str = "praison_") -> None:
        steps = self.Steps(open_data(None, name), self.prefix(table_prefix))
        StepConversationStore.__init__(self, steps, DirectRunner())

    def prefix(self, table_prefix):
        return check_prefix(table_prefix)


class Unbroken(Broken):
    pass


# ------------------------------------------------------------------------------------------------------------ sessions


class ForgetsTheAgent(Broken):
    class Steps(MemoryConversationSteps):
        def create_session(self, row):
            return super().create_session(row._replace(agent_id=None))


class KeepsTheCallersVersion(Broken):
    def create_session(self, session):
        created = super().create_session(session)
        stored = self._steps._sessions[session.session_id]
        stored.row = stored.row._replace(version=session.version)
        created.version = session.version
        return created


class ChangesItsArgument(Broken):
    def create_session(self, session):
        created = super().create_session(session)
        session.metadata = {**(session.metadata or {}), "stored": True}
        return created


class ReturnsItsOwnObjects(Broken):
    def get_session(self, session_id):
        cache = self.__dict__.setdefault("cache", {})
        current = super().get_session(session_id)
        if current is None:
            return None
        kept = cache.get((session_id, current.version, current.updated_at))
        return cache.setdefault((session_id, current.version, current.updated_at), kept or current)


class RoundsTimes(Broken):
    class Steps(MemoryConversationSteps):
        def create_session(self, row):
            return super().create_session(row._replace(created_at=round(row.created_at, 3)))


class CreateOverwrites(Broken):
    class Steps(MemoryConversationSteps):
        def create_session(self, row):
            if row.session_id in self._sessions:
                self._sessions[row.session_id].row = row
            else:
                self._sessions[row.session_id] = WholeSession(row)
            return done(decode_session(row))


class GetCreates(Broken):
    def get_session(self, session_id):
        found = super().get_session(session_id)
        return found if found is not None else self.create_session(ConversationSession(session_id))


class UpdateOfNothingIsSilent(Broken):
    def update_session(self, session, *, expected_version=None):
        try:
            return super().update_session(session, expected_version=expected_version)
        except SessionNotFoundError:
            return session


class UpdateChangesCreatedAt(Broken):
    class Steps(MemoryConversationSteps):
        def update_session(self, row, expected_version, now):
            yield from super().update_session(row, expected_version, now)
            stored = self._sessions[row.session_id]
            stored.row = stored.row._replace(created_at=row.created_at)
            return decode_session(stored.row)


class UpdateKeepsTheVersion(Broken):
    class Steps(MemoryConversationSteps):
        def update_session(self, row, expected_version, now):
            yield from super().update_session(row, expected_version, now)
            stored = self._sessions[row.session_id]
            stored.row = stored.row._replace(version=stored.row.version - 1)
            return decode_session(stored.row)


class UpdateCannotEmpty(Broken):
    class Steps(MemoryConversationSteps):
        def update_session(self, row, expected_version, now):
            old = self._sessions.need(row.session_id).row
            names = ("user_id", "agent_id", "name", "state", "metadata")
            kept = {name: getattr(old, name) for name in names if getattr(row, name) is None}
            return super().update_session(row._replace(**kept), expected_version, now)


class UpdateDropsTheMessages(Broken):
    class Steps(MemoryConversationSteps):
        def update_session(self, row, expected_version, now):
            yield from super().update_session(row, expected_version, now)
            stored = self._sessions[row.session_id]
            self._sessions[row.session_id] = WholeSession(stored.row)
            return decode_session(stored.row)


class IgnoresTheExpectedVersion(Broken):
    class Steps(MemoryConversationSteps):
        def update_session(self, row, expected_version, now):
            return super().update_session(row, None, now)


class ChecksTheVersionTooEarly(Broken):
    pause = Pause()

    class Steps(MemoryConversationSteps):
        def update_session(self, row, expected_version, now):
            if expected_version is None:
                return super().update_session(row, None, now)
            found = self._sessions.need(row.session_id).row.version
            ChecksTheVersionTooEarly.pause()
            return super().update_session(row, expected_version if expected_version != found else None, now)


class UpsertChecksThenInserts(Broken):
    pause = Pause()

    def upsert_session(self, session):
        known = self.get_session(session.session_id) is not None
        self.pause()
        return self.update_session(session) if known else self.create_session(session)


class UpsertReplaces(Broken):
    def upsert_session(self, session):
        self.delete_session(session.session_id)
        return self.create_session(session)


class DeleteLeavesTheMessages(Broken):
    class Steps(MemoryConversationSteps):
        def __init__(self, data, prefix):
            super().__init__(data, prefix)
            self._orphans = data.table(dict, prefix + "orphans")

        def delete_session(self, session_id):
            if session_id in self._sessions:
                self._orphans[session_id] = self._sessions[session_id].messages
            return super().delete_session(session_id)

        def create_session(self, row):
            created = yield from super().create_session(row)
            self._sessions[row.session_id] = WholeSession(row, self._orphans.pop(row.session_id, ()))
            return created


class DeleteAlwaysSaysTrue(Broken):
    def delete_session(self, session_id):
        super().delete_session(session_id)
        return True


class DeleteTakesLookalikesToo(Broken):
    def delete_session(self, session_id):
        found = False
        for session in self.list_sessions(limit=1000):
            if session.session_id.casefold() == session_id.casefold():
                found = super().delete_session(session.session_id)
        return found


class OneFilterOnly(Broken):
    def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        return super().list_sessions(user_id, None if user_id else agent_id, limit, offset)


class FiltersIgnoreCase(Broken):
    def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        found = [
            session
            for session in super().list_sessions(None, agent_id, 10_000)
            if user_id is None or (session.user_id or "").lower() == user_id.lower()
        ]
        return found[offset:][:limit] if limit >= 0 <= offset else super().list_sessions(limit=limit, offset=offset)


class OldestSessionsFirst(Broken):
    def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        super().list_sessions(user_id, agent_id, limit, offset)
        return super().list_sessions(user_id, agent_id, 10_000)[::-1][offset : offset + limit]


class NewestCreatedFirst(Broken):
    def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        super().list_sessions(user_id, agent_id, limit, offset)
        found = super().list_sessions(user_id, agent_id, 10_000)
        return sorted(found, key=lambda s: (-s.created_at, s.session_id))[offset : offset + limit]


class NoTieBreak(Broken):
    def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        super().list_sessions(user_id, agent_id, limit, offset)
        order = list(self._steps._sessions)
        found = super().list_sessions(user_id, agent_id, 10_000)
        found.sort(key=lambda s: (-s.updated_at, order.index(s.session_id)))
        return found[offset : offset + limit]


class OffsetIsIgnored(Broken):
    class Steps(MemoryConversationSteps):
        def list_sessions(self, user_id, agent_id, limit, offset):
            return super().list_sessions(user_id, agent_id, limit, 0)


class PagesBeforeFilters(Broken):
    class Steps(MemoryConversationSteps):
        def list_sessions(self, user_id, agent_id, limit, offset):
            page = yield from super().list_sessions(None, None, limit, offset)
            return [s for s in page if user_id in {None, s.user_id} and agent_id in {None, s.agent_id}]


class NegativeMeansAll(Broken):
    def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        return super().list_sessions(user_id, agent_id, 10_000 if limit < 0 else limit, max(offset, 0))


class ZeroMeansTheDefault(Broken):
    def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        return super().list_sessions(user_id, agent_id, limit or 100, offset)


# ------------------------------------------------------------------------------------------------------------ messages


class OrdersByTheClock(Broken):
    def get_messages(self, *args, **kwargs):
        return sorted(super().get_messages(*args, **kwargs), key=lambda message: message.created_at)


class CountsAcrossSessions(Broken):
    class Steps(MemoryConversationSteps):
        numbers = itertools.count(1)

        def add_messages(self, session_id, rows, now):
            session = self._sessions.need(session_id)
            if any(row.id not in session.by_id for row in rows):
                session.last_seq = max(next(self.numbers) - 1, session.last_seq)
            return super().add_messages(session_id, rows, now)


class StartsAtZero(Broken):
    class Steps(MemoryConversationSteps):
        def create_session(self, row):
            created = yield from super().create_session(row)
            self._sessions[row.session_id].last_seq = -1
            return created


class NumbersRace(Broken):
    pause = Pause()

    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            session = self._sessions.need(session_id)
            last = session.last_seq
            NumbersRace.pause()
            session.last_seq = last
            return super().add_messages(session_id, rows, now)


class AppendCreatesTheSession(Broken):
    def add_message(self, session_id, message):
        try:
            return super().add_message(session_id, message)
        except SessionNotFoundError:
            self.create_session(ConversationSession(session_id))
            return super().add_message(session_id, message)


class WritesBeforeItRefuses(Broken):
    class Steps(MemoryConversationSteps):
        def __init__(self, data, prefix):
            super().__init__(data, prefix)
            self._orphans = data.table(dict, prefix + "orphans")

        def add_messages(self, session_id, rows, now):
            if session_id not in self._sessions:
                self._orphans[session_id] = [row._replace(seq=n) for n, row in enumerate(rows, 1)]
            return super().add_messages(session_id, rows, now)

        def create_session(self, row):
            created = yield from super().create_session(row)
            self._sessions[row.session_id] = WholeSession(row, self._orphans.pop(row.session_id, ()))
            return created


class ARetryAddsARow(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            session = self._sessions.need(session_id)
            numbered = [row._replace(seq=number) for number, row in enumerate(rows, session.last_seq + 1)]
            row = session.row._replace(updated_at=next_updated_at(session.row.updated_at, now))
            self._sessions[session_id] = WholeSession(row, [*session.messages, *numbered])
            return done(decode_messages(session_id, numbered))


class OtherContentIsAccepted(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            known = self._sessions.need(session_id).by_id
            return super().add_messages(session_id, [known.get(row.id, row) for row in rows], now)


class OtherContentReplaces(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            session = self._sessions.need(session_id)
            for row in rows:
                if (old := session.by_id.get(row.id)) is not None:
                    session.by_id[row.id] = new = row._replace(seq=old.seq)
                    session.messages[session.messages.index(old)] = new
            return super().add_messages(session_id, rows, now)


class ARetryUsesUpANumber(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            session = self._sessions.need(session_id)
            stored = yield from super().add_messages(session_id, rows, now)
            session.last_seq += sum(1 for message in stored if message.seq < session.last_seq)
            return stored


class ARetryIsAnError(Broken):
    def add_message(self, session_id, message):
        if message.id in {old.id for old in self.get_messages(session_id)}:
            raise PersistenceError("this id is taken")
        return super().add_message(session_id, message)


class IdsAreGlobal(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            self._sessions.need(session_id)
            for other in self._sessions.values():
                if other.row.session_id != session_id:
                    for row in rows:
                        if row.id in other.by_id:
                            raise PersistenceError("this id is taken")
            return super().add_messages(session_id, rows, now)


class OneCommitAMessage(Broken):
    def add_messages(self, session_id, messages):
        return [self.add_message(session_id, message) for message in messages] or super().add_messages(session_id, [])


class TheBatchIsReversed(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            return (yield from super().add_messages(session_id, rows[::-1], now))[::-1]


class HalfABatchShows(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            session = self._sessions.need(session_id)
            if len(rows) == 5 and all(row.id not in session.by_id for row in rows):
                for row in rows[:-1]:
                    yield from super().add_messages(session_id, [row], now)
                    pause()  # for readers: those at a barrier would be writers
            return (yield from super().add_messages(session_id, rows, now))


class ALimitMeansTheOldest(Broken):
    def get_messages(self, session_id, limit=None, *args, **kwargs):
        super().get_messages(session_id, limit, *args, **kwargs)
        return super().get_messages(session_id, None, *args, **kwargs)[:limit]


class NewestMessagesFirst(Broken):
    def get_messages(self, *args, **kwargs):
        return super().get_messages(*args, **kwargs)[::-1]


class BoundsAreInclusive(Broken):
    class Steps(MemoryConversationSteps):
        def get_messages(self, session_id, selection):
            if selection.before is not None:
                selection.before += 1e-6
            return super().get_messages(session_id, selection)


class CursorsAreInclusive(Broken):
    class Steps(MemoryConversationSteps):
        def get_messages(self, session_id, selection):
            if selection.after_seq is not None:
                selection.after_seq -= 1
            return super().get_messages(session_id, selection)


class TheLimitComesFirst(Broken):
    class Steps(MemoryConversationSteps):
        def get_messages(self, session_id, selection):
            latest = yield from super().get_messages(session_id, Selection(selection.limit, None, None, None, None))
            chosen = yield from super().get_messages(session_id, selection)
            return [message for message in chosen if message in latest]


class ABoundOfZeroIsNone(Broken):
    class Steps(MemoryConversationSteps):
        def get_messages(self, session_id, selection):
            selection.before = selection.before or None
            selection.before_seq = selection.before_seq or None
            return super().get_messages(session_id, selection)


class ALimitOfZeroIsNone(Broken):
    def get_messages(self, session_id, limit=None, *args, **kwargs):
        return super().get_messages(session_id, limit or None, *args, **kwargs)


class AnUnknownSessionIsAnError(Broken):
    def get_messages(self, session_id, *args, **kwargs):
        if self.get_session(session_id) is None:
            raise SessionNotFoundError(session_id)
        return super().get_messages(session_id, *args, **kwargs)


class ReusesTheNumberOfTheNewest(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            session = self._sessions.need(session_id)
            session.last_seq = session.messages[-1].seq if session.messages else 0
            return super().add_messages(session_id, rows, now)


class ReusesNumbersOfAnEmptySession(Broken):
    class Steps(MemoryConversationSteps):
        def delete_messages(self, session_id, ids, now):
            gone = yield from super().delete_messages(session_id, ids, now)
            if session_id in self._sessions and not self._sessions[session_id].messages:
                self._sessions[session_id].last_seq = 0
            return gone


class CountsUnknownIds(Broken):
    def delete_messages(self, session_id, message_ids=None):
        gone = super().delete_messages(session_id, message_ids)
        return gone if message_ids is None else len(message_ids)


class AnEmptyListMeansAll(Broken):
    def delete_messages(self, session_id, message_ids=None):
        return super().delete_messages(session_id, message_ids or None)


class DeletesTheSessionToo(Broken):
    def delete_messages(self, session_id, message_ids=None):
        gone = super().delete_messages(session_id, message_ids)
        if message_ids is None:
            self.delete_session(session_id)
        return gone


class CountsTheDeleted(Broken):
    class Steps(MemoryConversationSteps):
        def count_messages(self, session_id):
            session = self._sessions.get(session_id)
            return done(0 if session is None else session.last_seq)


class NoToolCallsIsNone(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            rows = [row._replace(tool_calls=None if row.tool_calls == "[]" else row.tool_calls) for row in rows]
            return super().add_messages(session_id, rows, now)


class EmptyTextIsNone(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            rows = [row._replace(content=row.content or None) for row in rows]
            return super().add_messages(session_id, rows, now)


class NoTextIsEmpty(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            rows = [row._replace(tool_call_id=row.tool_call_id or "") for row in rows]
            return super().add_messages(session_id, rows, now)


# -------------------------------------------------------------------------------------------------------------- values


class _Texts(MemoryConversationSteps):
    """Changes every text of a message with ``change``."""

    def change(self, text: str) -> str:
        return text

    def add_messages(self, session_id, rows, now):
        names = ("role", "content", "tool_calls", "tool_call_id", "metadata")
        changed = [
            row._replace(
                **{name: None if (text := getattr(row, name)) is None else self.change(text) for name in names}
            )
            for row in rows
        ]
        return super().add_messages(session_id, changed, now)


class DropsNUL(Broken):
    class Steps(_Texts):
        def change(self, text):
            return text.replace("\x1a0000", "")


class ReplacesSurrogates(Broken):
    class Steps(_Texts):
        def change(self, text):
            return decode_text(text).encode("utf-8", "replace").decode().replace("\0", "\x1a0000")


class JoinsSurrogatePairs(Broken):
    class Steps(_Texts):
        def change(self, text):
            return text.replace("\x1ad83d\x1ade00", "\U0001f600")


class NormalisesText(Broken):
    class Steps(_Texts):
        def change(self, text):
            return unicodedata.normalize("NFC", text)


class TranslatesNewlines(Broken):
    class Steps(_Texts):
        def change(self, text):
            return text.replace("\r\n", "\n").replace("\r", "\n")


class StripsText(Broken):
    class Steps(_Texts):
        def change(self, text):
            return text.strip(" ")


class LargeIntegersBecomeFloats(Broken):
    def get_session(self, session_id):
        found = super().get_session(session_id)
        if found is not None and found.state is not None:
            found.state = _floats(found.state)
        return found


def _floats(value):
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if isinstance(value, int) and abs(value) > 2**63 else value


class WholeFloatsBecomeIntegers(Broken):
    def get_messages(self, *args, **kwargs):
        found = super().get_messages(*args, **kwargs)
        for message in found:
            if message.metadata is not None:
                message.metadata = {
                    key: int(item) if isinstance(item, float) and item.is_integer() else item
                    for key, item in message.metadata.items()
                }
        return found


class TakesTuples(Broken):
    def create_session(self, session):
        state = session.state
        if state is not None and isinstance(state.get("x"), tuple):
            session = ConversationSession(**{**session.to_dict(), "state": {**state, "x": list(state["x"])}})
        return super().create_session(session)


class TruncatesSilently(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            rows = [row._replace(content=row.content and row.content[:2_000_000]) for row in rows]
            return super().add_messages(session_id, rows, now)


# ------------------------------------------------------------------------------------------------ together, open, close


class AppendDoesNotTouch(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            before = self._sessions.need(session_id).row
            stored = yield from super().add_messages(session_id, rows, now)
            self._sessions[session_id].row = before
            return stored


class DeletingDoesNotTouch(Broken):
    class Steps(MemoryConversationSteps):
        def delete_messages(self, session_id, ids, now):
            before = self._sessions[session_id].row if session_id in self._sessions else None
            gone = yield from super().delete_messages(session_id, ids, now)
            if before is not None:
                self._sessions[session_id].row = before
            return gone


class UpdatedAtFollowsTheClock(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            stored = yield from super().add_messages(session_id, rows, now)
            session = self._sessions[session_id]
            session.row = session.row._replace(updated_at=now)
            return stored


class UpdatedAtStandsStill(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            before = self._sessions[session_id].row.updated_at if session_id in self._sessions else now
            stored = yield from super().add_messages(session_id, rows, now)
            session = self._sessions[session_id]
            session.row = session.row._replace(updated_at=max(now, before + 1e-6))
            return stored


class ACallersTimeIsALastWrite(Broken):
    def create_session(self, session):
        created = super().create_session(session)
        if session.updated_at > created.updated_at:
            row = self._steps._sessions[session.session_id].row
            self._steps._sessions[session.session_id].row = row._replace(updated_at=float(session.updated_at))
        return self.get_session(session.session_id)


class UpdatedAtIsTheMessages(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            return super().add_messages(session_id, rows, max([row.created_at for row in rows], default=now))


class OneCursorForAllThreads(Broken):
    pause = Pause()

    def count_messages(self, session_id):
        self.current = session_id
        self.pause()
        return super().count_messages(self.current)


class ConnectsTwice(Broken):
    pause = Pause()

    def create_session(self, session):
        if not getattr(self, "opened", False):
            self.pause()
            if getattr(self, "opened", False):
                raise PersistenceError("opened twice")
            self.opened = True
        return super().create_session(session)


class RemembersSessions(Broken):
    def get_session(self, session_id):
        cache = self.__dict__.setdefault("cache", {})
        if session_id not in cache:
            cache[session_id] = super().get_session(session_id)
        else:
            super().get_session(session_id)
        return cache[session_id]

    def update_session(self, session, **kwargs):
        self.__dict__.get("cache", {}).pop(session.session_id, None)
        return super().update_session(session, **kwargs)


class RemembersMessages(Broken):
    def get_messages(self, session_id, limit=None, *args, **kwargs):
        found = super().get_messages(session_id, limit, *args, **kwargs)
        cache = self.__dict__.setdefault("cache", {})
        return cache.setdefault((session_id, limit), found) if found and not args and not kwargs else found

    def add_message(self, *args):
        self.__dict__.pop("cache", None)
        return super().add_message(*args)


class OnlySaysThatItIsShared(Broken):
    capabilities = frozenset({"search", "fork", "prefix", "shared"})


class WorksAfterClose(Broken):
    def close(self):
        pass


class ClosingTwiceIsAnError(Broken):
    def close(self):
        self.times = getattr(self, "times", 0) + 1
        if self.times == 2:
            self._runner.connect()
        super().close()


class NothingToDoWorksAfterClose(Broken):
    def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        return [] if limit == 0 else super().list_sessions(user_id, agent_id, limit, offset)


class LeavesTheBlockOpen(Broken):
    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.close()


class SwallowsErrorsOfTheBlock(Broken):
    def __exit__(self, *error):
        self.close()
        return True


class LeavesAThread(Broken):
    def create_session(self, session):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return super().create_session(session)


class ThePrefixIsIgnored(Broken):
    def prefix(self, table_prefix):
        check_prefix(table_prefix)
        return "praison_"


class PrefixesIgnoreCase(Broken):
    def prefix(self, table_prefix):
        return check_prefix(str(table_prefix).lower())


class OnlySaysThatItHasNoPrefix(Broken):
    capabilities = frozenset({"search", "fork"})


class ThePrefixIsNotChecked(Broken):
    def prefix(self, table_prefix):
        return str(table_prefix)


class OnlySaysThatItIsDurable(Broken):
    capabilities = frozenset({"search", "fork", "prefix", "durable"})


class Logged(Broken):
    """No mistake: what a write leaves of its session goes to a log, which is read before the first call."""

    capabilities = frozenset({"search", "fork", "durable"})

    def __init__(self, *, name: str) -> None:
        StepConversationStore.__init__(self, self.Steps(open_data(None, None), ""), DirectRunner())
        self.path = Path(f"{name}.log")
        self.file = None
        self.lock = threading.Lock()

    def connect(self):
        super().connect()
        if self.file is None:
            written = self.path.read_bytes() if self.path.exists() else b""
            whole = written[: written.rfind(b"\n") + 1]
            for line in whole.splitlines():
                session_id, state = pickle.loads(bytes.fromhex(line.decode()))
                self._steps._sessions[session_id] = state and WholeSession(*state)
                if state is None:
                    del self._steps._sessions[session_id]
            self.file = self.path.open("ab", buffering=0)
            self.file.truncate(len(whole))  # half a line of a killed process would spoil the next one

    def close(self):
        with self.lock:
            super().close()
            if self.file is not None:
                self.file.close()

    def log(self, line):
        self.file.write(line)
        os.fsync(self.file.fileno())

    def write(self, name, session_id, *arguments):
        with self.lock:
            self.connect()
            result = getattr(MemoryConversationStore, name)(self, *arguments)
            left = self._steps._sessions.get(session_id)
            state = left and (left.row, left.messages, left.last_seq)
            self.log(pickle.dumps((session_id, state)).hex().encode() + b"\n")
        return result

    def read(self, name, *arguments, **named):
        with self.lock:
            self.connect()
            return getattr(MemoryConversationStore, name)(self, *arguments, **named)

    def create_session(self, session):
        return self.write("create_session", session.session_id, session)

    def update_session(self, session):
        return self.write("update_session", session.session_id, session)

    def upsert_session(self, session):
        return self.write("upsert_session", session.session_id, session)

    def delete_session(self, session_id):
        return self.write("delete_session", session_id, session_id)

    def add_message(self, session_id, message):
        return self.write("add_message", session_id, session_id, message)

    def add_messages(self, session_id, messages):
        return self.write("add_messages", session_id, session_id, messages)

    def delete_messages(self, session_id, message_ids=None):
        return self.write("delete_messages", session_id, session_id, message_ids)

    def get_session(self, session_id):
        return self.read("get_session", session_id)

    def get_messages(self, session_id, *arguments, **bounds):
        return self.read("get_messages", session_id, *arguments, **bounds)

    def count_messages(self, session_id):
        return self.read("count_messages", session_id)


class AcknowledgesTooEarly(Logged):
    queue = b""

    def log(self, line):
        self.queue += line
        if self.queue.count(b"\n") == 3:
            super().log(self.queue)
            self.queue = b""


class WritesABatchInParts(Logged):
    def add_messages(self, session_id, messages):
        return [self.add_message(session_id, message) for message in messages]


class IdsIgnoreCase(Broken):
    def create_session(self, session):
        if session.session_id.lower() in {old.session_id.lower() for old in self.list_sessions(limit=10_000)}:
            raise SessionExistsError("exists")
        return super().create_session(session)


class IdsAreNormalised(Broken):
    class Steps(MemoryConversationSteps):
        def add_messages(self, session_id, rows, now):
            rows = [row._replace(id=unicodedata.normalize("NFC", row.id)) for row in rows]
            return super().add_messages(session_id, rows, now)


class IdsAreCut(Broken):
    def create_session(self, session):
        return super().create_session(
            ConversationSession(**{**session.to_dict(), "session_id": session.session_id[:128]})
        )

    def get_session(self, session_id):
        return super().get_session(session_id[:128])


class IdsArePaths(Broken):
    def create_session(self, session):
        created = super().create_session(session)
        if "/" not in session.session_id:  # no farther than the current folder, which is the test's own
            with contextlib.suppress(OSError):
                Path(session.session_id).write_text("x", encoding="utf-8")
        return created


class TakesAnyId(Broken):
    def get_session(self, session_id):
        return super().get_session(session_id) if isinstance(session_id, str) and 0 < len(session_id) < 256 else None


class WritesOnConstruction(Broken):
    def __init__(self, **options):
        super().__init__(**options)
        with tempfile.TemporaryFile() as file:
            file.write(b"x")


class SearchesParts(Broken):
    class Steps(MemoryConversationSteps):
        def search_messages(self, words, user_id, limit):
            found = [
                decode_message(session.row.session_id, row)
                for session in self._sessions.values()
                if user_id is None or session.row.user_id == user_id
                for row in session.messages
                if row.content is not None and all(word in row.content.lower() for word in words)
            ]
            return done(sorted(found, key=lambda message: -message.created_at)[:limit])


class SearchesTheBeginning(Broken):
    class Steps(MemoryConversationSteps):
        def search_messages(self, words, user_id, limit):
            found = [
                decode_message(session.row.session_id, row)
                for session in self._sessions.values()
                if user_id is None or session.row.user_id == user_id
                for row in session.messages
                if row.content is not None and set(words) <= set(query_words(decode_text(row.content[:300_000])))
            ]
            return done(sorted(found, key=lambda m: (-m.created_at, m.session_id, -m.seq))[:limit])


class SearchesAnyWord(Broken):
    class Steps(MemoryConversationSteps):
        def search_messages(self, words, user_id, limit):
            found = [
                decode_message(session.row.session_id, row)
                for session in self._sessions.values()
                if user_id is None or session.row.user_id == user_id
                for row in session.messages
                if row.content is not None and set(words) & set(query_words(row.content))
            ]
            return done(sorted(found, key=lambda message: -message.created_at)[:limit])


class SearchIgnoresTheUser(Broken):
    class Steps(MemoryConversationSteps):
        def search_messages(self, words, user_id, limit):
            return super().search_messages(words, None, limit)


class SearchesUndeclared(Broken):
    capabilities = frozenset({"fork", "prefix"})

    def search_messages(self, query, user_id=None, limit=20):
        return []


class OnlySaysThatItHasASchema(Broken):
    capabilities = frozenset({"search", "fork", "prefix", "schema"})


class AdoptsUndeclared(Broken):
    def adopt_legacy(self, prefix=None, *, dry_run=False):
        return None


class ForksShareMessages(Broken):
    class Steps(MemoryConversationSteps):
        def fork_session(self, session_id, up_to_seq, new_session_id, now):
            fork = yield from super().fork_session(session_id, up_to_seq, new_session_id, now)
            if up_to_seq is None:
                self._sessions[new_session_id] = self._sessions[session_id]
            return fork


class ForksRenumber(Broken):
    class Steps(MemoryConversationSteps):
        def fork_session(self, session_id, up_to_seq, new_session_id, now):
            fork = yield from super().fork_session(session_id, up_to_seq, new_session_id, now)
            copy = self._sessions[new_session_id]
            rows = [row._replace(seq=number) for number, row in enumerate(copy.messages, 1)]
            self._sessions[new_session_id] = WholeSession(copy.row, rows)
            return fork


# ------------------------------------------------------------------------------ for the random walks: rare combinations


class EveryFifthDeletionIsLost(Broken):
    def delete_messages(self, session_id, message_ids=None):
        self._steps._data.deletions = times = getattr(self._steps._data, "deletions", 0) + 1
        if times % 5 == 0:
            return super().delete_messages(session_id, [])
        return super().delete_messages(session_id, message_ids)


class ForksKeepTheVersion(Broken):
    class Steps(MemoryConversationSteps):
        def fork_session(self, session_id, up_to_seq, new_session_id, now):
            yield from super().fork_session(session_id, up_to_seq, new_session_id, now)
            copy = self._sessions[new_session_id]
            copy.row = copy.row._replace(version=self._sessions[session_id].row.version)
            return decode_session(copy.row)


def __getattr__(name: str) -> Any:
    """``RIGHT`` and ``ALL``, from the table."""
    from mutants.running import Mutant
    from test_kit_mutants_conversation import MODEL, TABLE

    if name == "RIGHT":
        return [Mutant("Unbroken", "", "Unbroken"), Mutant("Logged", "C24", "Logged")]
    if name == "ALL":
        return [Mutant(row.name, row.clause, row.name) for row in TABLE + MODEL]
    raise AttributeError(name)


class RewritesInParts(Broken):
    def rewrite_session(self, session, messages=(), *, expected_version, remove=()):
        pause()
        return ConversationStore.rewrite_session(
            self, session, messages, expected_version=expected_version, remove=remove
        )


class RewriteIgnoresTheVersion(Broken):
    def rewrite_session(self, session, messages=(), *, expected_version, remove=()):
        stored = self.get_session(session.session_id) if expected_version else None
        version = stored.version if stored else expected_version
        return super().rewrite_session(session, messages, expected_version=version, remove=remove)


class RewriteRemovesEverything(Broken):
    def rewrite_session(self, session, messages=(), *, expected_version, remove=()):
        all_of_them = [message.id for message in self.get_messages(session.session_id)]
        return super().rewrite_session(session, messages, expected_version=expected_version, remove=all_of_them)


class RewriteLosesWhatIsGivenAgain(Broken):
    def rewrite_session(self, session, messages=(), *, expected_version, remove=()):
        stored = super().rewrite_session(session, messages, expected_version=expected_version)
        if expected_version and remove:
            self.delete_messages(session.session_id, remove)
        return self.get_session(session.session_id) or stored

"""The conversation suite catches every mistake that a mutant makes, by a test of the clause that it breaks."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutants import running

sys.path.pop(0)


class Row(NamedTuple):
    """A clause, a class of ``mutants/conversation.py``, and what it does wrong."""

    clause: str
    name: str
    mistake: str


TABLE = [
    Row("C01", "ForgetsTheAgent", "agent_id is not stored"),
    Row("C01", "KeepsTheCallersVersion", "a new session starts at the version that the record happens to have"),
    Row("C01", "ChangesItsArgument", "the caller's record is changed"),
    Row("C01", "ReturnsItsOwnObjects", "what the caller does to a returned record changes the stored one"),
    Row("C01", "RoundsTimes", "times are kept to the millisecond"),
    Row("C02", "CreateOverwrites", "a second session of the same id replaces the first"),
    Row("C03", "GetCreates", "reading an unknown session makes one"),
    Row("C04", "UpdateOfNothingIsSilent", "updating an unknown session does nothing and says nothing"),
    Row("C04", "UpdateChangesCreatedAt", "an update takes over created_at"),
    Row("C04", "UpdateKeepsTheVersion", "an update does not raise the version"),
    Row("C04", "UpdateCannotEmpty", "a field set to None keeps its old value"),
    Row("C04", "UpdateDropsTheMessages", "the row is replaced, and the messages with it"),
    Row("C05", "IgnoresTheExpectedVersion", "the expected version is not looked at"),
    Row("C05", "ChecksTheVersionTooEarly", "the version is compared before the write, not with it: two writers win"),
    Row("C06", "UpsertChecksThenInserts", "looks first and writes then: one of two racing upserts fails"),
    Row("C06", "UpsertReplaces", "deletes and creates: created_at and the messages are lost"),
    Row("C07", "DeleteLeavesTheMessages", "a session made anew has the messages of the deleted one"),
    Row("C07", "DeleteAlwaysSaysTrue", "also when there was nothing"),
    Row("C07", "DeleteTakesLookalikesToo", "ids that differ in case go with it"),
    Row("C08", "OneFilterOnly", "agent_id is ignored when user_id is given"),
    Row("C08", "FiltersIgnoreCase", "u1 finds U1"),
    Row("C08", "OldestSessionsFirst", "the list is upside down"),
    Row("C08", "NewestCreatedFirst", "ordered by created_at"),
    Row("C08", "NoTieBreak", "sessions of one moment come in any order"),
    Row("C08", "OffsetIsIgnored", "every page is the first"),
    Row("C08", "PagesBeforeFilters", "the page is cut before the filters are applied"),
    Row("C08", "NegativeMeansAll", "a negative limit is taken for none"),
    Row("C08", "ZeroMeansTheDefault", "a limit of 0 is taken for none"),
    Row("C09", "OrdersByTheClock", "messages are ordered by created_at"),
    Row("C09", "CountsAcrossSessions", "one sequence numbers the messages of all sessions"),
    Row("C09", "StartsAtZero", "the first message is 0"),
    Row("C09", "NumbersRace", "the next number is read before the write: two writers get the same"),
    Row("C10", "AppendCreatesTheSession", "a message to an unknown session makes one"),
    Row("C10", "WritesBeforeItRefuses", "the refused message is there when the session is made"),
    Row("C11", "ARetryAddsARow", "the same id twice is two messages"),
    Row("C11", "OtherContentIsAccepted", "the same id with other content is taken for a retry"),
    Row("C11", "OtherContentReplaces", "the same id with other content replaces the message"),
    Row("C11", "ARetryUsesUpANumber", "a retry leaves a gap in the numbers"),
    Row("C11", "ARetryIsAnError", "a retry is refused"),
    Row("C11", "IdsAreGlobal", "two sessions cannot have a message of one id"),
    Row("C12", "OneCommitAMessage", "what stands before a refused message is written"),
    Row("C12", "TheBatchIsReversed", "numbered from the last to the first"),
    Row("C12", "HalfABatchShows", "readers see a batch while it is written"),
    Row("C13", "ALimitMeansTheOldest", "a limit returns the oldest messages"),
    Row("C13", "NewestMessagesFirst", "the latest message comes first"),
    Row("C13", "BoundsAreInclusive", "before includes its own moment"),
    Row("C13", "CursorsAreInclusive", "after_seq includes its own number"),
    Row("C13", "TheLimitComesFirst", "the latest are taken, then the bounds are applied to them"),
    Row("C13", "ABoundOfZeroIsNone", "before=0 is taken for no bound"),
    Row("C13", "ALimitOfZeroIsNone", "limit=0 is taken for no limit"),
    Row("C13", "AnUnknownSessionIsAnError", "instead of having no messages"),
    Row("C14", "ReusesTheNumberOfTheNewest", "the next number is that of the newest plus one: a deleted one is reused"),
    Row("C14", "ReusesNumbersOfAnEmptySession", "an emptied session starts again at 1"),
    Row("C14", "CountsUnknownIds", "the number of ids is returned, not of what was deleted"),
    Row("C14", "AnEmptyListMeansAll", "an empty list deletes everything"),
    Row("C14", "DeletesTheSessionToo", "an emptied session is gone"),
    Row("C15", "CountsTheDeleted", "the highest number is taken for the count"),
    Row("C16", "NoToolCallsIsNone", "[] becomes None"),
    Row("C16", "EmptyTextIsNone", '"" becomes None'),
    Row("C16", "NoTextIsEmpty", 'None becomes ""'),
    Row("C17", "DropsNUL", "NUL is removed"),
    Row("C17", "ReplacesSurrogates", "lone surrogates become question marks"),
    Row("C17", "JoinsSurrogatePairs", "two surrogates become the one character of UTF-16"),
    Row("C17", "NormalisesText", "combining marks are composed"),
    Row("C17", "TranslatesNewlines", "CR LF and CR become LF"),
    Row("C17", "StripsText", "spaces at the ends are removed"),
    Row("C17", "LargeIntegersBecomeFloats", "integers over 64 bits lose digits"),
    Row("C17", "WholeFloatsBecomeIntegers", "1.0 becomes 1"),
    Row("C17", "TakesTuples", "a tuple is quietly stored as a list"),
    Row("C17", "TruncatesSilently", "a long text is cut"),
    Row("C18", "AppendDoesNotTouch", "a message does not raise updated_at"),
    Row("C18", "DeletingDoesNotTouch", "deleting messages does not raise updated_at"),
    Row("C18", "UpdatedAtFollowsTheClock", "updated_at goes back to a clock that is behind it"),
    Row("C18", "UpdatedAtStandsStill", "a microsecond is added also where floats are further apart"),
    Row("C18", "ACallersTimeIsALastWrite", "a created_at in the future makes updated_at one"),
    Row("C18", "UpdatedAtIsTheMessages", "updated_at follows created_at of the message"),
    Row("C19", "OneCursorForAllThreads", "the arguments of a call lie where another thread overwrites them"),
    Row("C19", "ConnectsTwice", "two first calls open the engine twice"),
    Row("C20", "RemembersSessions", "a session read once is never read again"),
    Row("C20", "RemembersMessages", "messages of another store object are not seen"),
    Row("C20", "OnlySaysThatItIsShared", "declares 'shared', but each process has its own data"),
    Row("C21", "WorksAfterClose", "close does nothing"),
    Row("C21", "ClosingTwiceIsAnError", "the second close raises"),
    Row("C21", "NothingToDoWorksAfterClose", "a limit of 0 is answered by a closed store"),
    Row("C21", "LeavesTheBlockOpen", "leaving the with-block by an exception does not close"),
    Row("C21", "SwallowsErrorsOfTheBlock", "the with-block hides the caller's exceptions"),
    Row("C21", "LeavesAThread", "a thread outlives its closed store"),
    Row("C22", "ThePrefixIsIgnored", "all prefixes are one"),
    Row("C22", "PrefixesIgnoreCase", "prefixes that differ in case are one"),
    Row("C22", "OnlySaysThatItHasNoPrefix", "takes a prefix, and does not declare it"),
    Row("C23", "ThePrefixIsNotChecked", "any text reaches DDL"),
    Row("C24", "OnlySaysThatItIsDurable", "declares 'durable', but the data die with the process"),
    Row("C24", "AcknowledgesTooEarly", "what waits to be written is lost with the process"),
    Row("C24", "WritesABatchInParts", "a batch is there in part after a crash"),
    Row("C25", "IdsIgnoreCase", "x and X are one session"),
    Row("C25", "IdsAreNormalised", "composed and decomposed letters are one message id"),
    Row("C25", "IdsAreCut", "ids of 255 characters that differ at the end are one session"),
    Row("C25", "IdsArePaths", "an id is a file name, in whatever folder"),
    Row("C25", "TakesAnyId", "what is no id is an unknown session"),
    Row("C26", "WritesOnConstruction", "the constructor opens a file"),
    Row("C27", "SearchesParts", "finds parts of words"),
    Row("C27", "SearchesTheBeginning", "of a long message only what comes first is indexed"),
    Row("C27", "SearchesAnyWord", "one word of the query is enough"),
    Row("C27", "SearchIgnoresTheUser", "finds what another user wrote"),
    Row("C27", "SearchesUndeclared", "an undeclared search answers with an empty list"),
    Row("C27", "ForksShareMessages", "a message to the fork is one to the source"),
    Row("C27", "OnlySaysThatItHasASchema", "declares 'schema', and has none of its methods"),
    Row("C27", "AdoptsUndeclared", "has a method of 'schema', and does not declare it"),
    Row("C27", "ForksRenumber", "the messages of a fork get new numbers"),
    Row("C28", "RewritesInParts", "declares 'rewrite', and does it in several calls"),
    Row("C28", "RewriteIgnoresTheVersion", "rewrites a session that somebody else has changed"),
    Row("C28", "RewriteRemovesEverything", "deletes messages that it was not told to delete"),
    Row("C28", "RewriteLosesWhatIsGivenAgain", "appends messages before it deletes those of the same ids"),
]

# What a random walk finds, without any test that was written for it.
MODEL = [
    Row("model", "EveryFifthDeletionIsLost", "one of five deletions deletes nothing"),
    Row("model", "ForksKeepTheVersion", "the version of a fork is that of its source"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return running.run("conversation", tmp_path_factory.mktemp("mutants"))


@pytest.mark.parametrize("row", TABLE + MODEL, ids=lambda row: f"{row.clause}-{row.name}")
def test_a_mutant_is_caught(row, outcomes):
    ran = outcomes[row.name]["sync"]
    assert ran["broken"] == []
    assert ran["failed"], f"{row.name} passes all {len(ran['passed'])} tests of {row.clause}"


def test_stores_without_a_mistake_pass_the_same_tests(outcomes):
    for name, least in (("Unbroken", 100), ("Logged", 4)):
        ran = outcomes[name]["sync"]
        assert ran["failed"] == ran["broken"] == []
        assert len(ran["passed"]) >= least


def test_every_clause_has_a_mutant_and_every_mutant_stands_in_the_table():
    assert {row.clause for row in TABLE} == {f"C{number:02}" for number in range(1, 29)}
    source = (Path(__file__).parent / "mutants" / "conversation.py").read_text(encoding="utf-8")
    classes = set(re.findall(r"^class (\w+)\((?:Broken|Logged)\):", source, re.MULTILINE))
    assert classes - {"Unbroken", "Logged"} == {row.name for row in TABLE + MODEL}

"""Statements in the syntax of MySQL and MariaDB, what errors mean, and the words of the index."""

from __future__ import annotations

import asyncio

import pytest
from pymysql.constants import CLIENT
from pymysql.err import IntegrityError, InterfaceError, OperationalError, ProgrammingError

from praisonai_persistence import BackendError, ConfigurationError, ConnectionFailedError, SerializationError
from praisonai_persistence.payload import encode_text
from praisonai_persistence_mysql._schema import CONVERSATION, STATE
from praisonai_persistence_mysql.conversation import MySQLConversationSteps
from praisonai_persistence_mysqlcore.dialect import MySQL
from praisonai_persistence_mysqlcore.errors import UndoneError, classify, refused, translate
from praisonai_persistence_mysqlcore.session import Traits, check_statement
from praisonai_persistence_mysqlcore.settings import settings_of
from praisonai_persistence_mysqlcore.words import codes_of, match_of


def test_statements():
    dialect = MySQL()
    assert dialect.tables("p_", ["sessions"]) == {"sessions": "`p_sessions`"}
    assert dialect.prepare("SELECT '%' FROM {a} WHERE b = ?", {"a": "`a`"}) == "SELECT '%%' FROM `a` WHERE b = %s"
    assert dialect.insert_new("t", ["a", "b"], ["a"]).endswith("ON DUPLICATE KEY UPDATE a = VALUES(a)")
    assert dialect.upsert("t", ["a", "b"], ["a"]).endswith("ON DUPLICATE KEY UPDATE b = VALUES(b)")


def test_every_step_of_a_migration_can_be_repeated():
    for migration in (*CONVERSATION, *STATE):
        assert all(sql.startswith("CREATE TABLE IF NOT EXISTS") for sql in migration.up)
        assert all(sql.startswith("DROP TABLE IF EXISTS") for sql in migration.down)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError(1213, "deadlock"), "repeat"),
        (OperationalError(1205, "lock wait"), "repeat"),
        (OperationalError(2013, "lost"), "lost"),
        (OperationalError(2006, "gone away"), "lost"),
        (InterfaceError("(0, 'Not connected')"), "lost"),
        (InterfaceError(0, ""), "lost"),
        (ConnectionResetError(104, "reset"), "lost"),
        (asyncio.TimeoutError(), "lost"),
        (UndoneError(2013, "lost"), "repeat"),
        (OperationalError(2003, "refused"), "other"),
        (OperationalError(1045, "denied"), "other"),
        (IntegrityError(1062, "duplicate"), "other"),
        (ValueError("mine"), "other"),
    ],
)
def test_what_errors_mean(error, expected):
    assert classify(error) == expected


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OperationalError(2003, "refused"), True),
        (OperationalError(2013, "no answer"), True),
        (OperationalError(1040, "too many connections"), True),
        (ConnectionResetError(104, "reset"), True),
        (OperationalError(1045, "denied"), False),
        (OperationalError(1049, "unknown database"), False),
    ],
)
def test_connecting_is_tried_again_where_the_server_was_before(error, again):
    assert isinstance(refused(error, "h:1", was_there=False), ConnectionFailedError)
    assert isinstance(refused(error, "h:1", was_there=True), UndoneError if again else ConnectionFailedError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OperationalError(2003, "refused"), ConnectionFailedError),
        (OperationalError(1045, "denied"), ConnectionFailedError),
        (OperationalError(1049, "unknown database"), ConnectionFailedError),
        (UndoneError(104, "reset"), ConnectionFailedError),
        (asyncio.TimeoutError(), ConnectionFailedError),
        (OperationalError(1142, "denied"), BackendError),
        (OperationalError(1290, "read-only"), BackendError),
        (OperationalError(1153, "too large"), SerializationError),
        (ProgrammingError(1064, "near 'my private text'"), BackendError),
    ],
)
def test_errors_in_our_words(error, kind):
    translated = translate(error, "h:1")
    assert type(translated) is kind
    assert "h:1" in str(translated)
    assert "private" not in str(translated)


def test_what_a_connection_can():
    traits = Traits((16_777_216, "11.8.6-MariaDB"), CLIENT.MULTI_STATEMENTS)
    assert traits.several
    assert traits.largest < 16_777_216
    limited = settings_of("mysql://h/d", {"statement_timeout": 1.5})
    assert traits.limits(limited) == [
        "SET SESSION innodb_lock_wait_timeout = 5",
        "SET SESSION max_statement_time = 1.500000",
    ]
    assert Traits((1, "8.4.0"), 0).limits(limited)[-1] == "SET SESSION max_execution_time = 1500"
    assert Traits((1, "8.4.0"), 0).limits(settings_of("mysql://h/d", {"timeout": 60})) == []
    with pytest.raises(ConfigurationError, match="FOUND_ROWS"):
        Traits((1, "8.4.0"), CLIENT.FOUND_ROWS)


def test_a_statement_over_the_limit_is_refused_by_its_bytes():
    assert check_statement("é" * 50, 100) == "é" * 50
    with pytest.raises(SerializationError, match="max_allowed_packet"):
        check_statement("é" * 51, 100)


def test_words_of_the_index():
    codes = codes_of(encode_text("The the THE\0 snake_case Müller's")).split()
    assert len(codes) == 5  # the, snake, case, müller, s
    assert all(len(code) == 10 and code.isascii() and code.isalnum() for code in codes)
    assert match_of(["fox"]) == f"(+{codes_of('FOX')}) {codes_of(' '.join(map(str, range(20_001))))}"


def test_appends_may_be_repeated_and_others_not():
    steps = MySQLConversationSteps("p_")
    assert steps.add_message.repeatable
    assert steps.add_messages.repeatable
    assert not getattr(steps.create_session, "repeatable", False)

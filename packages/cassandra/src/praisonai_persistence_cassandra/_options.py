"""What the stores in Cassandra can be given."""

from __future__ import annotations

import re
from typing import Any

from praisonai_persistence.drivers import Options, option
from praisonai_persistence.errors import ConfigurationError

__all__ = ["CassandraDocumentOptions", "CassandraOptions", "ClusterOptions"]


class ClusterOptions(Options):
    """What all stores in Cassandra can be given."""

    title = "Cassandra"
    schemes = ("cassandra", "async_cassandra")
    servers = True
    default_port = 9042
    default_host = "localhost"
    clients = ("secure_connect_bundle",)
    user_is, password_is, path_is = "username", "password", "keyspace"

    hosts = option(None, "object", "more nodes to ask for the others: a list of names; the first may stand for `host`")
    keyspace = option("praisonai", "text", "is made where there is none; in a URL the path")
    replicas = option(1, "count", "of a keyspace that is made, in each data centre", url=True)
    username = option(None, "text", "of an account; in a URL the user")
    password = option(None, "text", "of the account; in a URL the password", secret=True)
    secure_connect_bundle = option(None, "text", "path of Astra's file that says where a database is, instead of hosts")
    ssl_context = option(None, "object", "an `ssl.SSLContext`, for TLS", server=True)
    local_dc = option(None, "text", "the data centre to work in; by default that of the first node", url=True)
    consistency = option(
        "LOCAL_QUORUM",
        ("LOCAL_QUORUM", "QUORUM", "ALL", "LOCAL_ONE", "ONE"),
        "how many replicas take part in each request",
        url=True,
    )
    connect_timeout = option(10.0, "seconds", "seconds to connect in")
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        hosts = given.get("hosts")
        if hosts is not None and (
            not isinstance(hosts, (list, tuple)) or not hosts or not all(isinstance(one, str) and one for one in hosts)
        ):
            raise ConfigurationError("hosts must be a list of names, one or more")
        if hosts and url is None and given.get("host") is None:
            given["host"] = hosts[0]
        super().__init__(url, **given)
        self.contacts = list(dict.fromkeys([str(self.host), *(hosts or [])]))
        if re.fullmatch("[A-Za-z0-9_]{1,48}", self.keyspace, re.ASCII) is None:
            raise ConfigurationError("keyspace must have 1 to 48 letters, digits and underscores")
        if (self.username is None) is not (self.password is None):
            raise ConfigurationError("username and password belong together")

    @property
    def serial(self) -> str:
        """How many replicas take part in deciding a conditional write."""
        return "LOCAL_SERIAL" if self.consistency.startswith("LOCAL") else "SERIAL"


class CassandraOptions(ClusterOptions):
    """What the stores of knowledge can be given."""

    vector_index = option(
        False, "flag", "new collections have an index of their vectors; read about Cassandra 5.0.8 first", url=True
    )


class CassandraDocumentOptions(ClusterOptions):
    """What the stores of conversations and of state can be given."""

    consistency = option(
        "LOCAL_QUORUM",
        ("LOCAL_QUORUM", "QUORUM"),
        "how many replicas take part in each request; `QUORUM` where more than one data centre writes",
        url=True,
    )
    serial_consistency = option(
        None,
        ("LOCAL_SERIAL", "SERIAL"),
        "how many decide a conditional write; by default `LOCAL_SERIAL`, with `QUORUM` `SERIAL`",
        url=True,
    )

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        if (self.consistency, self.serial_consistency) == ("QUORUM", "LOCAL_SERIAL"):
            raise ConfigurationError("consistency QUORUM needs serial_consistency SERIAL: it is about all data centres")

    @property
    def serial(self) -> str:
        return self.serial_consistency or super().serial

"""What the fake keeps of its documentation (``fakes/valkey_search.md``), asked over its socket."""

from __future__ import annotations

import contextlib
import struct

import pytest
import redis


class TestValkeySearch:
    """The facts of ``fakes/valkey_search.md``."""

    VECTOR = ("v", "VECTOR", "HNSW", 6, "TYPE", "FLOAT32", "DIM", 2, "DISTANCE_METRIC", "IP")
    CREATE = ("FT.CREATE", "i", "ON", "HASH", "PREFIX", 1, "d:", "SCHEMA", "t", "TAG", *VECTOR)
    ONE = struct.pack("<2f", 1.0, 0.0)

    @pytest.fixture
    def client(self, valkey_search):
        if not valkey_search.restartable:
            pytest.skip("the facts are those of the front, and this is the service itself")
        with valkey_search.space() as options, redis.Redis.from_url(options["url"], protocol=2) as client:
            yield client
            with contextlib.suppress(redis.ResponseError):
                client.execute_command("FT.DROPINDEX", "i")

    def search(self, client, query, *more):
        given = ("FT.SEARCH", "i", query, "NOCONTENT", "PARAMS", 2, "q", self.ONE, "LIMIT", 0, 9, "DIALECT", 2, *more)
        return client.execute_command(*given)[1:]

    def refused(self, call, *words):
        with pytest.raises(redis.ResponseError, match="FT.REFUSED"):
            call(*words)

    def test_who_it_is(self, client):
        about = client.execute_command("HELLO")
        assert about[about.index(b"server") + 1] == b"valkey"

    def test_indexes(self, client):
        ask = client.execute_command
        self.refused(ask, *self.CREATE[:7], "SKIPINITIALSCAN", *self.CREATE[7:])
        self.refused(ask, *self.CREATE, "EPSILON", 1)
        long = [32_769 if word == 2 else word for word in self.CREATE]
        with pytest.raises(redis.ResponseError, match="less than or equal to 32768"):
            ask(*long)
        ask(*self.CREATE)
        assert ask("FT._LIST") == [b"i"]
        client.hset("d:a", mapping={"t": "x", "v": self.ONE})
        self.refused(ask, "FT.DROPINDEX", "i", "DD")
        self.refused(ask, "FT.AGGREGATE", "i", "*")
        self.refused(ask, "FT.INFO", "i", "LOCAL")
        ask("FT.DROPINDEX", "i")
        assert client.keys() == [b"d:a"]

    def test_searches(self, client):
        client.execute_command(*self.CREATE)
        for key, tags, vector in (("a", "x", (0.5, 0.5)), ("b", "x,y", (1.0, 0.0)), ("c", "z", (0.0, 1.0))):
            client.hset(f"d:{key}", mapping={"t": tags, "v": struct.pack("<2f", *vector)})
        for chosen, found in (
            ("*", [b"d:b", b"d:a", b"d:c"]),
            ("@t:{x}", [b"d:b", b"d:a"]),
            ("@t:{y | z}", [b"d:b", b"d:c"]),
            ("(-@t:{x})", [b"d:c"]),
            ("(@t:{x} (-@t:{y}))", [b"d:a"]),
            ("(@t:{y}|@t:{z})", [b"d:b", b"d:c"]),
        ):
            assert sorted(self.search(client, f"{chosen}=>[KNN 9 @v $q EF_RUNTIME 100 AS s]")) == sorted(found), chosen
        for query in (
            "@t:{x}",
            "*=>[KNN 129 @v $q]",
            "*=>[KNN 9 @v $q EF_RUNTIME 4097]",
            "*=>[KNN 9 @v $q HYBRID_POLICY ADHOC_BF]",
            "@t:{a\\+b}=>[KNN 9 @v $q]",
            "@t:[0 1]=>[KNN 9 @v $q]",
            f"({'|'.join(['@t:{x}'] * 17)})=>[KNN 9 @v $q]",
        ):
            self.refused(self.search, client, query)
        self.refused(self.search, client, "*=>[KNN 9 @v $q AS s]", "SORTBY", "s")

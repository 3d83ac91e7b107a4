"""What the fake keeps of its documentation (``fakes/upstash_vector.md``), asked over its socket."""

from __future__ import annotations

import time

import pytest
from asking import Asking
from engines import PASSWORD


class TestUpstashVector:
    """The facts of ``fakes/upstash_vector.md``."""

    @pytest.fixture
    def ask(self, upstash_vector):
        """Asks an index of two dimensions, by a path and a body."""
        if not upstash_vector.restartable:
            pytest.skip("the facts are those of the fake, and this is the service itself")
        for name, value in {"delay": 0, "dimension": 2}.items():
            upstash_vector.order(name, value)
        asking = Asking(upstash_vector.url, {"Authorization": f"Bearer {PASSWORD}"})

        def ask(path, body=None, **headers):
            status, answer, _ = asking(f"POST /{path}", body, **headers)
            return answer["result"] if status == 200 else status

        ask.whole = asking
        yield ask
        asking("POST /delete-namespace/n")
        defaults = {"delay": 0.01, "dimension": 1536, "function": "COSINE", "budget": 200, "sparse": False}
        for name, value in {**defaults, "spent": False, "busy": 0}.items():
            upstash_vector.order(name, value)

    def fill(self, ask, **records):
        made = [{"id": key, "vector": [1, 0], "metadata": metadata} for key, metadata in records.items()]
        assert ask("upsert/n", made) == "Success"

    def chosen(self, ask, text, **more):
        found = ask("query/n", {"vector": [1, 0], "topK": 100, "filter": text, **more})
        return sorted(one["id"] for one in found) if isinstance(found, list) else found

    def test_tokens_and_the_format_of_errors(self, ask):
        status, body, _ = ask.whole("POST /info", None, Authorization="Bearer another")
        assert (status, body) == (401, {"error": "Unauthorized: Invalid auth token", "status": 401})
        assert (ask("nothing"), ask("query/n/m", {}), ask("query/n", b"{")) == (404, 404, 400)

    def test_what_is_not_documented_is_refused(self, ask):
        vector = {"id": "a", "vector": [1, 2]}
        assert ask("upsert/n", {**vector, "sparseVector": None, "metadata": None, "data": None}) == "Success"
        for wrong in ({"values": []}, {"vector": "1"}, {"metadata": "{}"}, {"metadata": []}, {"data": 1}, {"id": 1.5}):
            assert ask("upsert/n", {**vector, **wrong}) == 400, wrong
        assert ask("upsert/n", {**vector, "sparseVector": {"indices": [1], "values": [1]}}) == 422
        assert ask("query/n", {"vector": [1, 2], "limit": 1}) == 400

    def test_vectors(self, ask, upstash_vector):
        def status(*values):
            found = ask("upsert/n", {"id": "a", "vector": list(values)})
            return found if isinstance(found, int) else 200

        assert (status(1), status(1, 2, 3), status(1, None), status(1, 1e39), status(0, 0)) == (422, 422, 400, 400, 422)
        assert status(0.1, 124) == 200
        assert ask("fetch/n", {"ids": ["a"], "includeVectors": True}) == [{"id": "a", "vector": [0.1, 124]}]
        upstash_vector.order("function", "DOT_PRODUCT")
        assert (status(0.6, 0.8), status(1, 1)) == (200, 422)
        upstash_vector.order("function", "EUCLIDEAN")
        assert status(0, 0) == 200

    def test_sizes(self, ask):
        def status(**more):
            found = ask("upsert/n", {"id": "a", "vector": [1, 2], **more})
            return found if isinstance(found, int) else 200

        room = 48_000 - len('{"a":""}')
        assert (status(metadata={"a": "x" * room}), status(metadata={"a": "x" * (room + 1)})) == (200, 400)
        assert (status(data="x" * 1_000_000), status(data="x" * 1_000_001), status(id="")) == (200, 400, 400)
        many = [{"id": str(number), "vector": [1, 2]} for number in range(1_001)]
        assert (ask("upsert/n", many), ask("upsert/n", []), ask("upsert/n", many[:-1])) == (400, 400, "Success")
        assert [ask("query/n", {"vector": [1, 2], "topK": limit}) for limit in (0, 1_001)] == [400, 400]
        assert (len(ask("query/n", {"vector": [1, 2]})), len(ask("query/n", {"vector": [1, 2], "topK": 1_000}))) == (
            10,
            1_000,
        )
        assert ask("fetch/n", {"ids": ["1"] * 1_001}) == ask("range/n", {"cursor": "0", "limit": 1_001}) == 400

    @pytest.mark.parametrize(
        ("function", "scores"),
        [
            ("COSINE", [("a", 1.0), ("b", 0.8), ("c", 0.5)]),
            ("EUCLIDEAN", [("b", 1 / 1.8), ("a", 0.5), ("c", 1 / 3)]),
        ],
    )
    def test_scores(self, ask, upstash_vector, function, scores):
        upstash_vector.order("function", function)
        for key, vector in (("a", [2, 0]), ("b", [0.6, 0.8]), ("c", [0, 1])):
            ask("upsert/n", {"id": key, "vector": vector})
        found = [(one["id"], pytest.approx(one["score"])) for one in ask("query/n", {"vector": [1, 0]})]
        assert found == scores
        batch = ask("query/n", [{"vector": [1, 0], "topK": 1}, {"vector": [0, 1], "topK": 1}])
        assert [len(one) for one in batch] == [1, 1]

    def test_filters(self, ask):
        self.fill(
            ask,
            n1={"n": 1, "t": "x"},
            n2={"n": 2.5, "t": ["x", "y"]},
            b={"n": True, "o": {"p": [{"q": "z"}, "end"]}},
            t={"n": "1", "t": "xyz"},
            o={},
        )
        for text, wanted in (
            ("n = 2.5", ["n2"]),
            ("n = '1'", ["t"]),
            ("n = true", ["b"]),
            ("n = 1", ["b", "n1"]),
            ("n != 2.5", ["b", "n1", "t"]),
            ("n > 1 or t = 'x'", ["n1", "n2"]),
            ("n >= 1 AND n < 2", ["n1"]),
            ("n <= -1", []),
            ("t GLOB 'x*'", ["n1", "t"]),
            ("t GLOB '[a-z]?[^abc]'", ["t"]),
            ("t NOT GLOB '*z'", ["n1"]),
            ("t IN ('x', 'z')", ["n1"]),
            ('t NOT IN ("x")', ["t"]),
            ("t CONTAINS 'y'", ["n2"]),
            ("t NOT CONTAINS 'y'", []),
            ("o.p[0].q = 'z' AND o.p[#-1] = 'end'", ["b"]),
            ("n = '1' AND t = 'no' OR n = 2.5", ["n2"]),
            ("n = '1' AND (t = 'xyz' OR n = 2.5)", ["t"]),
        ):
            assert self.chosen(ask, text) == wanted, text
        for wrong in ("n", "n =", "= 1", "n == 1", "n > 'x'", "n = 1e3", "9n = 1", "t GLOB 1", "t IN 'x'", "t IN ()"):
            assert self.chosen(ask, wrong) == 400, wrong
        for wrong in ("(n = 1", "n = 1)", "n = 1 AND", "NOT n = 1", "t = 'a'b'", "n NOT = 1", "n IS NULL"):
            assert self.chosen(ask, wrong) == 400, wrong

    def test_a_filter_has_a_budget(self, ask, upstash_vector):
        self.fill(ask, **{f"k{number:03}": {"n": number % 50} for number in range(300)})
        upstash_vector.order("budget", 100)
        assert len(self.chosen(ask, "n = 7")) == 2
        assert len(self.chosen(ask, "n = 7", topK=1)) == 1
        upstash_vector.order("budget", 1_000)
        assert len(self.chosen(ask, "n = 7")) == 6

    def test_fetches_and_ranges(self, ask):
        self.fill(ask, **{f"k{number}": {"n": number} for number in range(5)})
        assert ask("fetch/n", {"ids": ["k3", "none", "k1"]}) == [{"id": "k3"}, None, {"id": "k1"}]
        assert ask("fetch/n", {"prefix": "k4", "includeMetadata": True}) == [{"id": "k4", "metadata": {"n": 4}}]
        assert (ask("fetch/n", {}), ask("fetch/n", {"ids": ["a"], "prefix": "a"})) == (400, 400)
        found, cursor = [], "0"
        while cursor:
            page = ask("range/n", {"cursor": cursor, "limit": 2})
            cursor = page["nextCursor"]
            found.append([one["id"] for one in page["vectors"]])
        assert found == [["k0", "k1"], ["k2", "k3"], ["k4"]]
        assert len(ask("range/n", {"cursor": "", "limit": 9, "prefix": "k2"})["vectors"]) == 1
        assert (ask("range/n", {"limit": 1}), ask("range/n", {"cursor": "?", "limit": 1})) == (400, 400)

    def test_deletions_and_updates(self, ask):
        self.fill(ask, **{f"k{number}": {"n": number} for number in range(5)})
        assert ask("delete/n", {"ids": ["k0", "none"]}) == {"deleted": 1}
        assert ask("delete/n", {"prefix": "k1"}) == {"deleted": 1}
        assert ask("delete/n", {"filter": "n >= 4"}) == {"deleted": 1}
        assert (ask("delete/n", {}), ask("delete/n", {"ids": [], "prefix": "k"})) == (400, 400)
        assert ask("update/n", {"id": "k2", "metadata": {"m": 1, "n": None}, "metadataUpdateMode": "PATCH"}) == {
            "updated": 1
        }
        assert ask("update/n", {"id": "none", "data": "x"}) == {"updated": 0}
        found = ask("range/n", {"cursor": "0", "limit": 9, "includeMetadata": True})["vectors"]
        assert found == [{"id": "k2", "metadata": {"m": 1}}, {"id": "k3", "metadata": {"n": 3}}]
        assert (ask("reset/n"), ask("range/n", {"cursor": "0", "limit": 9})["vectors"]) == ("Success", [])

    def test_namespaces(self, ask):
        assert ask("query/n", {"vector": [1, 2]}) == []
        assert {"", "n"} <= set(ask("list-namespaces"))
        assert [ask("delete-namespace/n"), ask("delete-namespace/n"), ask("delete-namespace")] == ["Success", 404, 400]
        assert ask("upsert/n", {"id": "a", "vector": [1, 2]}) == "Success"
        assert ask("info")["namespaces"]["n"] == {"vectorCount": 1, "pendingVectorCount": 0}

    def test_queries_see_a_write_later(self, ask, upstash_vector):
        upstash_vector.order("delay", 0.3)
        self.fill(ask, a={})
        assert (ask("fetch/n", {"ids": ["a"]}), ask("query/n", {"vector": [1, 0]})) == ([{"id": "a"}], [])
        assert ask("info")["namespaces"]["n"]["pendingVectorCount"] == 1
        end = time.monotonic() + 10
        while not ask("query/n", {"vector": [1, 0]}):
            assert time.monotonic() < end
        assert ask("delete/n", {"ids": ["a"]}) == {"deleted": 1}
        assert (ask("fetch/n", {"ids": ["a"]}), len(ask("query/n", {"vector": [1, 0]}))) == ([None], 1)

    def test_throttling_and_quotas_on_demand(self, ask, upstash_vector):
        upstash_vector.order("busy", 1)
        status, _, headers = ask.whole("POST /info")
        assert (status, headers["retry-after"], ask("info")["dimension"]) == (429, "1", 2)
        upstash_vector.order("spent", True)
        assert ask("info") == 429

    def test_what_was_written_outlives_a_restart(self, ask, upstash_vector):
        self.fill(ask, a={"a": "\u00e9"}, b={})
        ask("delete/n", {"ids": ["b"]})
        upstash_vector.kill()
        upstash_vector.start()
        upstash_vector.order("dimension", 2)
        assert self.chosen(ask, "a = '\u00e9'") == self.chosen(ask, "") == ["a"]

    def test_the_sdk_reads_the_answers(self, ask, upstash_vector):
        with upstash_vector.client() as client:
            client.upsert([("a", [0.1, 0.2], {"n": 1}, "text")], namespace="n")
            found = client.query([0.1, 0.2], 1, True, True, "n = 1", include_data=True, namespace="n")
            assert [(one.id, one.score, one.vector, one.metadata, one.data) for one in found] == [
                ("a", 1.0, [0.1, 0.2], {"n": 1}, "text")
            ]
            assert client.fetch(["a", "b"], namespace="n")[1] is None
            assert client.range("0", 5, namespace="n").next_cursor == ""
            assert client.delete("a", namespace="n").deleted == 1
            info = client.info()
            assert (info.dimension, info.similarity_function, info.sparse_index) == (2, "COSINE", None)

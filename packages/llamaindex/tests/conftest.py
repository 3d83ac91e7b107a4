"""What the tests of all adapters to LlamaIndex share."""

from __future__ import annotations

import asyncio

import pytest

ASYNC = {"add": "async_add", "add_message": "async_add_message"}
"""Async methods whose names are not ``a`` and the sync one."""


@pytest.fixture(params=["sync", "async"])
def call(request):
    """Call a method by its sync name."""

    def call(on, name, *args, **kwargs):
        if request.param == "sync":
            return getattr(on, name)(*args, **kwargs)

        async def work():
            return await getattr(on, ASYNC.get(name, f"a{name}"))(*args, **kwargs)

        return asyncio.run(work())

    return call

"""Objects of LlamaIndex as JSON, and whether what was made of JSON has all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from llama_index.core.schema import MediaResource

from praisonai_persistence.errors import SerializationError, UnsupportedOperationError

if TYPE_CHECKING:
    from llama_index.core.bridge.pydantic import BaseModel

__all__ = ["NoCopies", "dumped", "has"]


class NoCopies:
    """For components that hold an open store: LlamaIndex would pickle them without it."""

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise UnsupportedOperationError(
            f"a {type(self).__name__} cannot be pickled or copied: open the store again where it is needed"
        )


def dumped(model: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """Return all fields as JSON, also the data of media, which LlamaIndex leaves out.

    Raises:
        SerializationError: a field holds what is not JSON.
    """
    try:
        data = model.model_dump(mode="json", exclude=exclude)
    except (TypeError, ValueError) as error:
        raise SerializationError(f"a {type(model).__name__} holds what is not JSON") from error
    for name, value in model:
        if isinstance(value, MediaResource) and value.data and name in data:
            data[name]["data"] = value.data.decode()
    return data


def has(made: Any, stored: Any) -> bool:
    """Whether JSON has everything that other JSON has; it may have more, such as fields with their defaults."""
    if isinstance(stored, dict):
        return isinstance(made, dict) and all(key in made and has(made[key], stored[key]) for key in stored)
    if isinstance(stored, list):
        return isinstance(made, list) and len(made) == len(stored) and all(map(has, made, stored))
    return bool(made == stored)

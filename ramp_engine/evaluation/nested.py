"""Arrays of objects as JSON that executes nothing.

Kept are the types that predictions are made of, so that what is read equals what was written:
lists, tuples, dictionaries, text, numbers, None, numpy's scalars and arrays. JSON's own types
stand for themselves; anything else is an object with one key, its type.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np

#: Kinds of numpy types that are taken: numbers, truth values and text.
_KINDS = "biufU"

#: Arrays within an array may hold so much together [bytes].
_MAX_BYTES = 1 << 30
#: Lists and dictionaries of a text; each takes 30 times its two characters of memory.
MAX_CONTAINERS = 10_000_000
#: Keys of one dictionary may have the same hash; more are made to, and would take for ever.
_MAX_SAME_HASH = 50


def dumps(array: Any) -> str:
    """Return an array of objects as JSON text.

    Parameters
    ----------
    array : ndarray of object
        Any shape.

    Raises
    ------
    TypeError
        It holds something that is not data.
    """
    items = [_encode(item) for item in array.ravel().tolist()]
    return json.dumps({"shape": list(array.shape), "items": items})


def loads(text: str) -> Any:
    """Return the array that `dumps` has written.

    Raises
    ------
    ValueError, TypeError, KeyError
        The text is something else.
    """
    if text.count("[") + text.count("{") > MAX_CONTAINERS:
        raise ValueError(f"more than {MAX_CONTAINERS} lists and dictionaries")
    content = json.loads(text)
    items = content["items"]
    array = np.empty(len(items), dtype=object)
    decoder = _Decoder()
    for position, item in enumerate(items):
        array[position] = decoder.decode(item)
    return array.reshape(_shape(content["shape"]))


def _encode(value: Any) -> Any:
    if value is None or type(value) in (str, bool, int, float):
        return value
    if type(value) is list:
        return [_encode(item) for item in value]
    if type(value) is tuple:
        return {"tuple": [_encode(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
        return {"scalar": [value.dtype.str, value.item()]}
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    raise TypeError(f"{type(value).__name__} is neither number, text, list, tuple nor array")


def _encode_array(value: Any) -> Any:
    shape = list(value.shape)
    if value.dtype.hasobject:
        return {"array": ["O", shape, [_encode(item) for item in value.ravel().tolist()]]}
    if value.dtype.kind not in _KINDS:
        raise TypeError(f"an array of {value.dtype} is neither numbers nor text")
    return {"array": [value.dtype.str, shape, value.ravel().tolist()]}


class _Decoder:
    """What was written is made of its JSON again, within a budget: a few bytes can claim many."""

    def __init__(self) -> None:
        self._n_bytes_left = _MAX_BYTES

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind == "tuple":
            return tuple(self.decode(item) for item in content)
        if kind == "dict":
            return self._dictionary([(self.decode(key), item) for key, item in content])
        if kind == "scalar":
            return self._array(content[0], [content[1]])[0]
        if kind == "array":
            return self._of_shape(*content)
        raise ValueError(f"unknown type {kind!r}")

    def _dictionary(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        n_same = Counter(hash(key) for key, _ in pairs)
        if n_same and max(n_same.values()) > _MAX_SAME_HASH:
            raise ValueError("a dictionary with keys of one hash")
        return {key: self.decode(item) for key, item in pairs}

    def _of_shape(self, dtype: str, shape: list[int], items: list[Any]) -> Any:
        if dtype != "O":
            return self._array(dtype, items).reshape(_shape(shape))
        array = np.empty(len(items), dtype=object)
        for position, item in enumerate(items):
            array[position] = self.decode(item)
        return array.reshape(_shape(shape))

    def _array(self, dtype: str, items: list[Any]) -> Any:
        plain = _plain_type(dtype)
        self._n_bytes_left -= plain.itemsize * len(items)
        if self._n_bytes_left < 0:
            raise ValueError(f"arrays of more than {_MAX_BYTES} bytes together")
        return np.array(items, dtype=plain)


def _plain_type(text: str) -> Any:
    dtype = np.dtype(str(text))
    if dtype.kind not in _KINDS:
        raise ValueError(f"the type {text!r} is not taken")
    return dtype


def _shape(values: Any) -> tuple[int, ...]:
    shape = tuple(int(value) for value in values)
    if any(length < 0 for length in shape):
        raise ValueError("a negative length")
    return shape

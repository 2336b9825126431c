"""What the Python client sends and when it tries again. Carries nothing itself.

Each operation is a *flow*: a generator that yields `Call`s and is sent httpx responses. So the logic stands here once,
for the blocking client and the asyncio one.
"""

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import httpx
import numpy as np
import orjson

from ferry.client_answers import (
    LATER_STATUSES,
    Model,
    Prediction,
    error_of,
    read_models,
    read_prediction,
    retry_after_s,
)
from ferry.errors import InvalidInputError, WaitTimeoutError

# The server holds a request back for at most this long (`?wait=`, `Prefer: wait`); longer waits ask again.
MAX_SERVER_WAIT_S = 60
# What a response may take beyond the time the server was asked to hold it.
ANSWER_TIMEOUT_S = 30.0
POLL_PAUSE_S = 0.1
MAX_ATTEMPTS = 4
MAX_RETRY_AFTER_S = 10.0

# numpy's letters for bool, signed, unsigned and floating.
_NUMBER_KINDS = frozenset("biuf")

T = TypeVar("T")

# By tensor name; a list of rows, each by name; or the bare value, for a model with one input.
Inputs = Mapping[str, Any] | Sequence[Any] | np.ndarray[Any, Any] | float | str


class Sink(Protocol):
    """Takes the body of a response as it comes."""

    def begin(self, response: httpx.Response) -> bool:
        """Say whether it takes this response's body; else it is read into memory."""
        ...

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a flow: sent after `delay_s`, answered within `timeout_s`.

    form: the body, where it is read while it is sent; it serves both clients. part: where the response's body goes to
    as it comes, instead of into memory.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    form: httpx.SyncByteStream | None = None
    part: Sink | None = None
    timeout_s: float = ANSWER_TIMEOUT_S
    delay_s: float = 0.0


Flow = Generator[Call, httpx.Response, T]


def submit_flow(model: str, inputs: Inputs) -> Flow[Prediction]:
    """Hand a job in."""
    return read_prediction((yield from answered(_submission(model, inputs))))


def get_flow(prediction_id: str) -> Flow[Prediction]:
    """Read a job."""
    return read_prediction((yield from answered(Call("GET", _path_of(prediction_id)))))


def wait_flow(prediction_id: str, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> Flow[Prediction]:
    """Read a job until it is done.

    Raises:
        WaitTimeoutError: when it is not within `timeout_s`; the job itself goes on.
    """
    deadline_s = clock() + timeout_s
    delay_s = 0.0
    while True:
        wait_s = _server_wait_s(deadline_s - clock())
        call = Call("GET", _path_of(prediction_id), {"wait": str(wait_s)}, timeout_s=wait_s + ANSWER_TIMEOUT_S)
        prediction = read_prediction((yield from answered(replace(call, delay_s=delay_s))))
        if prediction.is_done:
            return prediction
        if clock() >= deadline_s:
            raise WaitTimeoutError(
                f"prediction {prediction_id} is still {prediction.status} after {timeout_s:g} s; "
                "it goes on, wait for it again or give a longer timeout_s"
            )
        delay_s = POLL_PAUSE_S


def predict_flow(
    model: str, inputs: Inputs, timeout_s: float, clock: Callable[[], float] = time.monotonic
) -> Flow[Prediction]:
    """Hand a job in and wait for its end, in one request where that is quick."""
    deadline_s = clock() + timeout_s
    call = _submission(model, inputs)
    wait_s = _server_wait_s(timeout_s)
    held = replace(call, headers={**call.headers, "Prefer": f"wait={wait_s}"}, timeout_s=wait_s + ANSWER_TIMEOUT_S)
    prediction = read_prediction((yield from answered(held)))
    if prediction.is_done:
        return prediction
    return (yield from wait_flow(prediction.id, max(0.0, deadline_s - clock()), clock))


def models_flow() -> Flow[tuple[Model, ...]]:
    """List the models served."""
    return read_models((yield from answered(Call("GET", "/v1/models"))))


def answered(call: Call) -> Flow[httpx.Response]:
    """Send a call, again while the server says when to come back; raise what it answers with an error."""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        response = yield call
        wait_s = retry_after_s(response)
        if response.status_code not in LATER_STATUSES or wait_s is None or attempt == MAX_ATTEMPTS:
            break
        call = replace(call, delay_s=min(wait_s, MAX_RETRY_AFTER_S))
    if not response.is_success:
        raise error_of(response)
    return response


def _submission(model: str, inputs: Inputs) -> Call:
    body = {"version": model, "input": _plain_input(inputs)}
    try:
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise InvalidInputError(f"inputs cannot be written as JSON: {error}; give arrays, lists or numbers") from None
    if b"null" in content:  # orjson's word for infinities too, which are no missing values
        _refuse_infinities(inputs)
    return Call("POST", "/v1/predictions", headers={"Content-Type": "application/json"}, content=content)


def _plain_input(inputs: Inputs) -> Any:
    if isinstance(inputs, Mapping):
        return {name: _plain(value) for name, value in inputs.items()}
    if isinstance(inputs, list | tuple) and inputs and isinstance(inputs[0], Mapping):
        return [_plain_input(row) if isinstance(row, Mapping) else row for row in inputs]
    return _plain(inputs)


def _refuse_infinities(value: Any) -> None:
    if isinstance(value, Mapping):
        value = list(value.values())
    elif isinstance(value, np.ndarray) and value.dtype.kind == "O":
        value = value.tolist()
    if isinstance(value, list | tuple):
        for each in value:
            _refuse_infinities(each)
    elif isinstance(value, float | np.floating | np.ndarray):
        numbers = np.asarray(value)
        if numbers.dtype.kind == "f" and np.isinf(numbers).any():
            raise InvalidInputError("inputs hold an infinity, which JSON cannot; only missing values may be NaN")


def _plain(value: Any) -> Any:
    """Return what orjson can write: it takes arrays of numbers with an axis, in the machine's own order.

    It writes NaN as null. Masked elements are null too; orjson would write what lies under the mask.
    """
    if not isinstance(value, np.ndarray) or (
        not isinstance(value, np.ma.MaskedArray)
        and value.ndim
        and value.flags.c_contiguous
        and value.dtype.isnative
        and value.dtype.kind in _NUMBER_KINDS
    ):
        return value
    return value.tolist()


def _path_of(prediction_id: str) -> str:
    return f"/v1/predictions/{quote(prediction_id, safe='')}"


def _server_wait_s(left_s: float) -> int:
    return min(MAX_SERVER_WAIT_S, max(1, math.ceil(left_s)))

"""Request bodies: bounded, of a type we read, and small ones parsed. Knows nothing of what the JSON means."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.json_parsing import parse_plain_json
from api.problems import BodyTooLargeError, UnsupportedMediaTypeError
from ferry.errors import InvalidInputError

# The largest body of a request that has no tensors in it: a batch with 16 metadata of 512 characters has 10 KB.
MAX_PLAIN_BYTES = 64 * 2**10


async def read_json_object(request: Request, headers: Mapping[str, str], *, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object in a body without tensors, of up to MAX_PLAIN_BYTES. No content type is taken as JSON.

    Raises:
        UnsupportedMediaTypeError, BodyTooLargeError, MalformedRequestError: as named.
        InvalidInputError: JSON, but not an object.
    """
    check_media_type(headers.get("content-type", ""))
    body = parse_plain_json(await read_body(request, headers, max_bytes=min(max_bytes, MAX_PLAIN_BYTES)))
    if not isinstance(body, dict):
        raise InvalidInputError.at("#", "the body must be a JSON object")
    return body


def check_media_type(content_type: str) -> None:
    """Refuse a body that says it is not JSON."""
    if content_type == "application/json":
        return
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaTypeError(f"content type {media_type!r} is not read here; send application/json")


async def read_body(
    request: Request,
    headers: Mapping[str, str],
    *,
    max_bytes: int,
    on_piece: Callable[[int], Awaitable[None] | None] = lambda _: None,
) -> bytes:
    """Return the body, refusing as soon as it is known to be too large, or when it is compressed.

    `on_piece` is called with the size of each piece that comes, and may refuse it. The next piece is received when what
    it returns is done; so long the client cannot send much.

    Raises:
        UnsupportedMediaTypeError, BodyTooLargeError: as named.
        ClientDisconnect: the client went away before it had sent everything.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMediaTypeError(f"content encoding {encoding[:40]!r} is not read here; send the body as it is")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(declared, max_bytes)
    pieces: list[bytes] = []
    size, is_last = 0, False
    while not is_last:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        is_last = not message.get("more_body", False)
        size += len(piece)
        if size > max_bytes:
            raise _too_large(f"more than {max_bytes}", max_bytes)
        pause = on_piece(len(piece))
        pieces.append(piece)
        if pause is not None and not is_last:
            await pause
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(size: str, max_bytes: int) -> BodyTooLargeError:
    limit = f"the limit is {max_bytes} bytes (FERRY_MAX_BODY_BYTES); send fewer rows a job"
    if max_bytes == MAX_PLAIN_BYTES:
        limit = f"the limit of a body without tensors is {max_bytes} bytes"
    return BodyTooLargeError(f"the body has {size} bytes, {limit}")

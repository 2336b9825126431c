"""A request to run the failed rows of an earlier batch again: what it takes from that one, and why it may not be."""

from collections.abc import Mapping
from typing import Any

from api.services import FileBook
from ferry.bulk.batch_records import RETRY_OF, BatchRecord, BatchStatus
from ferry.errors import ConflictError, InvalidInputError, NotFoundError


def retry_of(body: Mapping[str, Any]) -> str | None:
    """Return the id of the batch whose failed rows a request wants run again.

    Raises:
        InvalidInputError: it is no text.
    """
    metadata = body.get("metadata")
    earlier = metadata.get(RETRY_OF) if isinstance(metadata, dict) else None
    if earlier is not None and not isinstance(earlier, str):
        raise InvalidInputError.at(f"#/metadata/{RETRY_OF}", f"{RETRY_OF} must be the id of a batch, a text")
    if earlier is not None and not earlier.strip():
        raise InvalidInputError.at(f"#/metadata/{RETRY_OF}", f"{RETRY_OF} needs the id of a batch; it is empty")
    return earlier


def filled_in(body: Mapping[str, Any], earlier: BatchRecord) -> dict[str, Any]:
    """Return the request with everything that the earlier batch was asked for.

    Raises:
        InvalidInputError: it names something else than that one did.
    """
    own = {"input_file_id": earlier.input_file_id, "endpoint": earlier.endpoint}
    for name, value in own.items():
        if body.get(name, value) != value:
            detail = f"{earlier.id} has {name} {value!r}, and its failed rows are run again with the same; leave it out"
            raise InvalidInputError.at(f"#/{name}", detail)
    model = body.get("model")
    if model not in (None, earlier.model, f"{earlier.model}:{earlier.version}"):
        detail = (
            f"{earlier.id} ran {earlier.model}:{earlier.version}, and its failed rows are run by the same; leave it out"
        )
        raise InvalidInputError.at("#/model", detail)
    asked = dict(body.get("metadata") or {})
    for name, value in asked.items():
        if name != RETRY_OF and earlier.metadata.get(name) != value:
            detail = f"with {RETRY_OF} the metadata are those of {earlier.id}; leave {name[:64]!r} out"
            raise InvalidInputError.at(f"#/metadata/{name[:64]}", detail)
    rest = {name: value for name, value in body.items() if name != "model"}
    return rest | own | {"metadata": asked}


async def check_retry(earlier: BatchRecord, files: FileBook) -> None:
    """Refuse a batch whose failed rows cannot be run again.

    Raises:
        ConflictError: it is not over, or no row of it failed.
        NotFoundError: a file of it is gone.
    """
    if not earlier.status.is_terminal:
        raise ConflictError(f"batch {earlier.id} is {earlier.status.value}; its failed rows can be run when it is over")
    if earlier.status is BatchStatus.FAILED and earlier.error_file_id is None:
        raise ConflictError(f"batch {earlier.id} failed as a whole, see its `errors`; run the file again")
    if earlier.error_file_id is None:
        raise ConflictError(f"no row of batch {earlier.id} failed, so there is nothing to run again")
    needed = {"input": earlier.input_file_id, "error": earlier.error_file_id, "output": earlier.output_file_id}
    for what, file_id in needed.items():
        if file_id is not None and await files.get(file_id) is None:
            detail = f"the {what} file of batch {earlier.id} was deleted, or its time is over; run the whole file again"
            raise NotFoundError(detail)

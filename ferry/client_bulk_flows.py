"""What the Python client sends about files and bulk batches. Carries nothing itself; see `ferry.client_flows`."""

import time
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from urllib.parse import quote

import httpx
import orjson

from ferry.client_answers import LATER_STATUSES, ApiError, ApiUnreachableError, error_of, read_versions
from ferry.client_bulk_answers import Batch, File, read_batch, read_batches, read_file
from ferry.client_flows import MAX_ATTEMPTS, MAX_RETRY_AFTER_S, Call, Flow, answered
from ferry.client_transfers import ByteProgress, PartFile, UploadForm
from ferry.errors import FerryError, InvalidInputError, NotFoundError, WaitTimeoutError

BatchWatcher = Callable[[Batch], None]

# The server puts the last bytes into its storage before it answers an upload.
UPLOAD_ANSWER_TIMEOUT_S = 120.0
# A batch is asked for at once, then after pauses that grow to the longest: short ones end quickly, long ones cost
# nothing.
FIRST_PAUSE_S, PAUSE_GROWTH, LONGEST_PAUSE_S = 0.2, 1.5, 2.0
# Pause before a broken download goes on; doubled while nothing comes.
RESUME_PAUSE_S = 0.5
PREDICTIONS_URL = "/v1/predictions"


def endpoint_of(model: str) -> str:
    """Return the route of `name` (its latest version when the batch is made) or `name:version`."""
    name, _, version = model.partition(":")
    path = f"/v2/models/{quote(name, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}/infer" if version else f"{path}/infer"


def upload_flow(
    path: str | PathLike[str], expires_after_s: int | None = None, on_progress: ByteProgress | None = None
) -> Flow[File]:
    """Store a file for batches."""
    fields = {"purpose": "batch"}  # before the file, so that a wrong one is refused before it is sent
    if expires_after_s is not None:
        fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(expires_after_s)}
    form = UploadForm(Path(path), fields, on_progress)
    call = Call("POST", "/v1/files", headers=form.headers, form=form, timeout_s=UPLOAD_ANSWER_TIMEOUT_S)
    return read_file((yield from answered(call)))


def file_flow(file_id: str) -> Flow[File]:
    """Read a file's record."""
    return read_file((yield from answered(Call("GET", _file_path(file_id)))))


def delete_file_flow(file_id: str) -> Flow[None]:
    """Delete a file."""
    yield from answered(Call("DELETE", _file_path(file_id)))


def download_flow(file_id: str, path: str | PathLike[str], on_progress: ByteProgress | None = None) -> Flow[File]:
    """Write a file's bytes to `path`; a connection that breaks is made again and goes on where it was.

    Raises:
        ApiUnreachableError, ApiError: nothing more came several times; what has come waits for the next call.
        InvalidInputError: the file cannot be written.
    """
    file = yield from file_flow(file_id)
    with PartFile(Path(path), file, on_progress) as part:
        n_vain, delay_s = 0, 0.0
        while not part.is_whole:
            before = part.offset
            headers = {"Accept-Encoding": "identity", "Range": f"bytes={before}-"}
            trouble: FerryError
            try:
                response = yield Call(
                    "GET", f"{_file_path(file_id)}/content", headers=headers, part=part, delay_s=delay_s
                )
                trouble = _trouble_of(response)
            except ApiUnreachableError as error:
                trouble = error
            n_vain = 1 if part.offset > before else n_vain + 1
            if not part.is_whole and n_vain >= MAX_ATTEMPTS:
                raise trouble
            delay_s = min(trouble.retry_after_s or RESUME_PAUSE_S * 2 ** (n_vain - 1), MAX_RETRY_AFTER_S)
        part.finish()
    return file


def _trouble_of(response: httpx.Response) -> ApiError:
    if response.is_success:
        return ApiError(response.status_code, "the file's bytes ended too early")
    error = error_of(response)
    if response.status_code not in LATER_STATUSES:
        raise error
    return error


def create_batch_flow(
    input_file_id: str,
    *,
    model: str | None = None,
    endpoint: str | None = None,
    completion_window: str = "24h",
    metadata: Mapping[str, str] | None = None,
    output_expires_after_s: int | None = None,
    idempotency_key: str | None = None,
) -> Flow[Batch]:
    """Make a batch.

    Raises:
        InvalidInputError: neither a model nor an endpoint is named.
    """
    if model is None and endpoint is None:
        raise InvalidInputError('name a model="name[:version]" or an endpoint')
    body = {
        "input_file_id": input_file_id,
        "endpoint": endpoint or endpoint_of(model or ""),
        "completion_window": completion_window,
    } | ({"model": model} if model and endpoint == PREDICTIONS_URL else {})  # which names no model itself
    more = {"metadata": dict(metadata)} if metadata else {}
    return (yield from _make_batch({**body, **more}, output_expires_after_s, idempotency_key))


def retry_batch_flow(
    batch_id: str,
    *,
    completion_window: str = "24h",
    output_expires_after_s: int | None = None,
    idempotency_key: str | None = None,
) -> Flow[Batch]:
    """Make a batch of the failed rows of another one."""
    body = {"completion_window": completion_window, "metadata": {"retry_of": batch_id}}
    return (yield from _make_batch(body, output_expires_after_s, idempotency_key))


def _make_batch(
    body: Mapping[str, object], output_expires_after_s: int | None, idempotency_key: str | None
) -> Flow[Batch]:
    expires = {"output_expires_after": {"anchor": "created_at", "seconds": output_expires_after_s}}
    content = orjson.dumps({**body, **(expires if output_expires_after_s else {})})
    headers = {"Content-Type": "application/json"}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    return read_batch((yield from answered(Call("POST", "/v1/batches", headers=headers, content=content))))


def batch_flow(batch_id: str) -> Flow[Batch]:
    """Read a batch."""
    return read_batch((yield from answered(Call("GET", _batch_path(batch_id)))))


def batches_flow(after: str | None = None, limit: int = 20) -> Flow[tuple[Batch, ...]]:
    """List batches, the newest first."""
    params = {"limit": str(limit)} | ({"after": after} if after else {})
    return read_batches((yield from answered(Call("GET", "/v1/batches", params))))


def cancel_batch_flow(batch_id: str) -> Flow[Batch]:
    """Cancel a batch."""
    return read_batch((yield from answered(Call("POST", f"{_batch_path(batch_id)}/cancel"))))


def wait_batch_flow(
    batch_id: str,
    timeout_s: float | None = None,
    on_progress: BatchWatcher | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Flow[Batch]:
    """Read a batch until it is over.

    Raises:
        WaitTimeoutError: when it is not within `timeout_s`; the batch itself goes on.
    """
    deadline_s = None if timeout_s is None else clock() + timeout_s
    delay_s, pause_s = 0.0, FIRST_PAUSE_S
    while True:
        batch = read_batch((yield from answered(Call("GET", _batch_path(batch_id), delay_s=delay_s))))
        if on_progress:
            on_progress(batch)
        if batch.is_done:
            return batch
        left_s = pause_s if deadline_s is None else deadline_s - clock()
        if left_s <= 0:
            raise WaitTimeoutError(
                f"batch {batch_id} is still {batch.status} after {timeout_s:g} s; "
                "it goes on, wait for it again or give a longer timeout_s"
            )
        delay_s = min(pause_s, left_s)
        pause_s = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)


def check_model_flow(model: str) -> Flow[tuple[str, ...]]:
    """Ask whether `name` or `name:version` is served; return the dtypes of its outputs.

    Raises:
        ApiError: no model has this name.
        NotFoundError: it has no such version.
    """
    name, colon, version = model.partition(":")
    versions = read_versions((yield from answered(Call("GET", f"/v1/models/{quote(name, safe='')}"))))
    if colon and version not in versions:
        raise NotFoundError(f"model {name!r} has no version {version!r}; it has {', '.join(versions)}")
    return versions.get(version) or next(reversed(versions.values()), ())


def _file_path(file_id: str) -> str:
    return f"/v1/files/{quote(file_id, safe='')}"


def _batch_path(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"

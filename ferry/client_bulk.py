"""The Python client's methods for files and bulk batches; `ferry.client` carries what they send."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from os import PathLike

from ferry.client_bulk_answers import Batch, File
from ferry.client_bulk_flows import (
    BatchWatcher,
    batch_flow,
    batches_flow,
    cancel_batch_flow,
    check_model_flow,
    create_batch_flow,
    delete_file_flow,
    download_flow,
    file_flow,
    retry_batch_flow,
    upload_flow,
    wait_batch_flow,
)
from ferry.client_flows import Flow, T
from ferry.client_output import DEFAULT_PATIENCE_S, OutputTransfer
from ferry.client_transfers import ByteProgress


class BulkCalls(ABC):
    """What `ferry.client.Client` can do with files and batches."""

    @abstractmethod
    def _carry(self, flow: Flow[T]) -> T: ...

    def check_model(self, model: str) -> tuple[str, ...]:
        """Return the dtypes of the outputs of `model` ("mnist:1", say).

        Raises:
            ApiError, NotFoundError: it is not served; they say what there is.
        """
        return self._carry(check_model_flow(model))

    def upload_file(
        self, path: str | PathLike[str], expires_after_s: int | None = None, on_progress: ByteProgress | None = None
    ) -> File:
        """Store a file for batches, read from disk as it is sent.

        on_progress is told the bytes sent and those there are. The file is kept for `expires_after_s` (an hour to 30
        days), or as long as the server keeps files.
        """
        return self._carry(upload_flow(path, expires_after_s, on_progress))

    def file(self, file_id: str) -> File:
        """Read what is known of a file."""
        return self._carry(file_flow(file_id))

    def download_file(self, file_id: str, path: str | PathLike[str], on_progress: ByteProgress | None = None) -> File:
        """Write a file to `path`, which it replaces once all of it has come.

        Until then it grows beside it (`path`.FILE_ID.part). A broken connection is made again and goes on there, and
        so does the next call.
        """
        return self._carry(download_flow(file_id, path, on_progress))

    def delete_file(self, file_id: str) -> None:
        """Delete a file."""
        self._carry(delete_file_flow(file_id))

    def create_batch(
        self,
        input_file_id: str,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        completion_window: str = "24h",
        metadata: Mapping[str, str] | None = None,
        output_expires_after_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Run every row of a stored file through `model` ("mnist", or "mnist:1"), or through the route `endpoint`.

        What the lines of the file name must be the endpoint. metadata is the caller's own, but `output_format`,
        `join` (columns of the input to repeat in the output), `csv_escape_formulas` ("true": no text cell of a CSV
        output is run as a formula) and `errors` ("inline": rows that failed keep their place in the output) mean
        something, and so do `header` ("yes" or "no"), `delimiter`, `decimal` and `encoding` of a text file that does
        not show them itself. The same `idempotency_key` again is the same batch.
        """
        return self._carry(
            create_batch_flow(
                input_file_id, model=model, endpoint=endpoint, completion_window=completion_window, metadata=metadata,
                output_expires_after_s=output_expires_after_s, idempotency_key=idempotency_key,
            )
        )  # fmt: skip

    def retry_batch(
        self,
        batch_id: str,
        *,
        completion_window: str = "24h",
        output_expires_after_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Run the rows that failed in a batch again, with the same model and options.

        The output is that of the earlier batch with those rows in their places, and the error file names those that
        failed again. Both files of the earlier batch and its input must still be there.
        """
        return self._carry(
            retry_batch_flow(
                batch_id, completion_window=completion_window, output_expires_after_s=output_expires_after_s,
                idempotency_key=idempotency_key,
            )
        )  # fmt: skip

    def batch(self, batch_id: str) -> Batch:
        """Read a batch."""
        return self._carry(batch_flow(batch_id))

    def batches(self, after: str | None = None, limit: int = 20) -> tuple[Batch, ...]:
        """List up to `limit` (1 to 100) batches, the newest first, those made before the one named `after`."""
        return self._carry(batches_flow(after, limit))

    def cancel_batch(self, batch_id: str) -> Batch:
        """Cancel a batch; rows that are done stay done. One that is over stays as it is."""
        return self._carry(cancel_batch_flow(batch_id))

    def wait_batch(
        self, batch_id: str, timeout_s: float | None = None, on_progress: BatchWatcher | None = None
    ) -> Batch:
        """Return a batch when it is over, telling on_progress of it on the way.

        Raises WaitTimeoutError when it is not over in time; without `timeout_s` its own window is the limit.
        """
        return self._carry(wait_batch_flow(batch_id, timeout_s, on_progress))

    @abstractmethod
    def _rows(self, transfer: OutputTransfer) -> Iterator[bytes]: ...

    def batch_output(self, batch_id: str, from_row: int = 0, patience_s: float = DEFAULT_PATIENCE_S) -> Iterator[bytes]:
        """Yield the rows of a batch's output while it runs, as bytes with their line breaks, until the batch is over.

        JSONL, CSV and TSV; of the latter two the header comes before row 0, and not where `from_row` is later. Joined,
        the rows from 0 on are the output file. A stream that breaks goes on with the next row; where the API is away
        for longer than `patience_s` its error is raised, and a later call with `from_row` goes on.
        """
        return self._rows(OutputTransfer(batch_id, from_row, patience_s))


class AsyncBulkCalls(ABC):
    """What `ferry.client.AsyncClient` can do with files and batches."""

    @abstractmethod
    async def _carry(self, flow: Flow[T]) -> T: ...

    async def check_model(self, model: str) -> tuple[str, ...]:
        """See `Client.check_model`."""
        return await self._carry(check_model_flow(model))

    async def upload_file(
        self, path: str | PathLike[str], expires_after_s: int | None = None, on_progress: ByteProgress | None = None
    ) -> File:
        """See `Client.upload_file`."""
        return await self._carry(upload_flow(path, expires_after_s, on_progress))

    async def file(self, file_id: str) -> File:
        """See `Client.file`."""
        return await self._carry(file_flow(file_id))

    async def download_file(
        self, file_id: str, path: str | PathLike[str], on_progress: ByteProgress | None = None
    ) -> File:
        """See `Client.download_file`."""
        return await self._carry(download_flow(file_id, path, on_progress))

    async def delete_file(self, file_id: str) -> None:
        """See `Client.delete_file`."""
        await self._carry(delete_file_flow(file_id))

    async def create_batch(
        self,
        input_file_id: str,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        completion_window: str = "24h",
        metadata: Mapping[str, str] | None = None,
        output_expires_after_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """See `Client.create_batch`."""
        return await self._carry(
            create_batch_flow(
                input_file_id, model=model, endpoint=endpoint, completion_window=completion_window, metadata=metadata,
                output_expires_after_s=output_expires_after_s, idempotency_key=idempotency_key,
            )
        )  # fmt: skip

    async def retry_batch(
        self,
        batch_id: str,
        *,
        completion_window: str = "24h",
        output_expires_after_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """See `Client.retry_batch`."""
        return await self._carry(
            retry_batch_flow(
                batch_id, completion_window=completion_window, output_expires_after_s=output_expires_after_s,
                idempotency_key=idempotency_key,
            )
        )  # fmt: skip

    async def batch(self, batch_id: str) -> Batch:
        """See `Client.batch`."""
        return await self._carry(batch_flow(batch_id))

    async def batches(self, after: str | None = None, limit: int = 20) -> tuple[Batch, ...]:
        """See `Client.batches`."""
        return await self._carry(batches_flow(after, limit))

    async def cancel_batch(self, batch_id: str) -> Batch:
        """See `Client.cancel_batch`."""
        return await self._carry(cancel_batch_flow(batch_id))

    async def wait_batch(
        self, batch_id: str, timeout_s: float | None = None, on_progress: BatchWatcher | None = None
    ) -> Batch:
        """See `Client.wait_batch`."""
        return await self._carry(wait_batch_flow(batch_id, timeout_s, on_progress))

    @abstractmethod
    def _rows(self, transfer: OutputTransfer) -> AsyncIterator[bytes]: ...

    def batch_output(
        self, batch_id: str, from_row: int = 0, patience_s: float = DEFAULT_PATIENCE_S
    ) -> AsyncIterator[bytes]:
        """See `Client.batch_output`; it takes none of the client's turns."""
        return self._rows(OutputTransfer(batch_id, from_row, patience_s))

"""The Python client: `Client` and `AsyncClient`. Knows the HTTP API alone, nothing of Redis or the queue's inside.

The two carry calls; what is sent stands once in `ferry.client_flows`, how answers are read in
`ferry.client_answers`. Their methods for files and batches stand in `ferry.client_bulk`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from types import TracebackType
from typing import Self

import httpx

from ferry.client_answers import ApiError, ApiUnreachableError, Model, Prediction
from ferry.client_bulk import AsyncBulkCalls, BulkCalls
from ferry.client_bulk_answers import Batch, File
from ferry.client_flows import Call, Flow, Inputs, T, get_flow, models_flow, predict_flow, submit_flow, wait_flow
from ferry.client_output import OutputTransfer
from ferry.loopback import direct_mounts

__all__ = ["ApiError", "ApiUnreachableError", "AsyncClient", "Batch", "Client", "File", "Model", "Prediction"]

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 60.0
# httpx' pool looks at all its connections and waiting requests for each request: 8 at a time bring 570 requests/s on
# 2 cores, 64 at a time 150.
DEFAULT_MAX_IN_FLIGHT = 16


def _headers_of(api_key: str | None) -> dict[str, str]:
    return {"Accept": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})


@contextmanager
def _reachable(base_url: str, call: Call) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException:
        raise ApiUnreachableError(f"{base_url} gave no answer within {call.timeout_s:g} s") from None
    except httpx.TransportError as error:
        raise ApiUnreachableError(
            f"no Ferry API answers at {base_url} ({error}); start one with `ferry up`, or correct the address"
        ) from None


class Client(BulkCalls):
    """Talk to a Ferry API; use it in a `with` statement, or call `close`. Safe to use from several threads.

    Every method raises ApiError when the API refuses, ApiUnreachableError when nobody answers, and takes 429 and 503
    with a Retry-After as "come back later", a few times. Inputs are numbers, nested lists or numpy arrays by tensor
    name, in the model's own layout; one row may leave the batch axis out, and is answered without it. A model with one
    input takes the bare value too; tables go as columns by name or as a list of rows. None, NaN and masked elements are
    missing values, for which the model has a rule.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers=_headers_of(api_key), transport=transport, mounts=direct_mounts(base_url)
        )
        self._sleep = sleep

    def submit(self, model: str, inputs: Inputs) -> Prediction:
        """Hand in a job for `model` ("mnist", or "mnist:1" for one version) and return at once."""
        return self._carry(submit_flow(model, inputs))

    def get(self, prediction_id: str) -> Prediction:
        """Read a job."""
        return self._carry(get_flow(prediction_id))

    def wait(self, prediction_id: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Prediction:
        """Return a job when it is done; raise WaitTimeoutError when it is not in time."""
        return self._carry(wait_flow(prediction_id, timeout_s))

    def predict(self, model: str, inputs: Inputs, timeout_s: float = DEFAULT_TIMEOUT_S) -> Prediction:
        """Hand in a job and return it when it is done; raise WaitTimeoutError when it is not in time."""
        return self._carry(predict_flow(model, inputs, timeout_s))

    def models(self) -> tuple[Model, ...]:
        """List the models served."""
        return self._carry(models_flow())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _carry(self, flow: Flow[T]) -> T:
        try:
            call = next(flow)
            while True:
                self._sleep(call.delay_s)
                try:
                    with _reachable(str(self._http.base_url), call):
                        response = self._send(call)
                except ApiUnreachableError as error:
                    call = flow.throw(error)
                else:
                    call = flow.send(response)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    def _send(self, call: Call) -> httpx.Response:
        request = _request_of(self._http, call)
        if call.part is None:
            return self._http.send(request)
        response = self._http.send(request, stream=True)
        with closing(response):
            if call.part.begin(response):
                for piece in response.iter_bytes():
                    call.part.write(piece)
            else:
                response.read()
        return response

    def _rows(self, transfer: OutputTransfer) -> Iterator[bytes]:
        while not transfer.is_over:
            self._sleep(transfer.pause_s)
            call = transfer.call()
            try:
                with _reachable(str(self._http.base_url), call):
                    response = self._http.send(_request_of(self._http, call), stream=True)
                    with closing(response):
                        if transfer.begin(response):
                            for piece in response.iter_bytes():
                                yield from transfer.feed(piece)
                            transfer.end()
                        else:
                            response.read()
                            transfer.refuse(response)
            except ApiUnreachableError as error:
                transfer.broke(error)


class AsyncClient(AsyncBulkCalls):
    """`Client` for asyncio; use it in an `async with` statement, or call `aclose`.

    At most `max_in_flight` requests are on their way at a time, the others wait for their turn.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        max_in_flight: int = DEFAULT_MAX_IN_FLIGHT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=_headers_of(api_key), transport=transport, mounts=direct_mounts(base_url)
        )
        self._turns = asyncio.Semaphore(max_in_flight)

    async def submit(self, model: str, inputs: Inputs) -> Prediction:
        """See `Client.submit`."""
        return await self._carry(submit_flow(model, inputs))

    async def get(self, prediction_id: str) -> Prediction:
        """See `Client.get`."""
        return await self._carry(get_flow(prediction_id))

    async def wait(self, prediction_id: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Prediction:
        """See `Client.wait`."""
        return await self._carry(wait_flow(prediction_id, timeout_s))

    async def predict(self, model: str, inputs: Inputs, timeout_s: float = DEFAULT_TIMEOUT_S) -> Prediction:
        """See `Client.predict`."""
        return await self._carry(predict_flow(model, inputs, timeout_s))

    async def models(self) -> tuple[Model, ...]:
        """See `Client.models`."""
        return await self._carry(models_flow())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _carry(self, flow: Flow[T]) -> T:
        try:
            call = next(flow)
            while True:
                await asyncio.sleep(call.delay_s)
                try:
                    async with self._turns:
                        with _reachable(str(self._http.base_url), call):
                            response = await self._send(call)
                except ApiUnreachableError as error:
                    call = flow.throw(error)
                else:
                    call = flow.send(response)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    async def _send(self, call: Call) -> httpx.Response:
        request = _request_of(self._http, call)
        if call.part is None:
            return await self._http.send(request)
        response = await self._http.send(request, stream=True)
        async with aclosing(response):
            if call.part.begin(response):
                async for piece in response.aiter_bytes():
                    await asyncio.to_thread(call.part.write, piece)
            else:
                await response.aread()
        return response

    async def _rows(self, transfer: OutputTransfer) -> AsyncIterator[bytes]:
        while not transfer.is_over:
            await asyncio.sleep(transfer.pause_s)
            call = transfer.call()
            try:
                with _reachable(str(self._http.base_url), call):
                    response = await self._http.send(_request_of(self._http, call), stream=True)
                    async with aclosing(response):
                        if transfer.begin(response):
                            async for piece in response.aiter_bytes():
                                for row in transfer.feed(piece):
                                    yield row
                            transfer.end()
                        else:
                            await response.aread()
                            transfer.refuse(response)
            except ApiUnreachableError as error:
                transfer.broke(error)


def _request_of(http: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
    request = http.build_request(
        call.method,
        call.path,
        params=call.params or None,
        headers=call.headers,
        content=call.content,
        timeout=call.timeout_s,
    )
    if call.form is None:
        return request
    # build_request takes no body that serves both clients.
    return httpx.Request(
        request.method, request.url, headers=request.headers, stream=call.form, extensions=request.extensions
    )

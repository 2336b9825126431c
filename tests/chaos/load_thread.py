"""Runs the clients in a thread of their own, so that killing and starting parts holds none of them up."""

import asyncio
import threading
from concurrent.futures import Future

from tests.chaos.load import Load

# Requests under way are cut when the load is stopped, which takes no time.
STOPS_S = 30.0


class LoadThread:
    """A load on an event loop of its own; `result` is done when it has ended."""

    def __init__(self, load: Load) -> None:
        self.result: Future[None] = Future()
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(load.run())
        self._thread = threading.Thread(target=self._run, name="chaos-load", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            self.result.set_result(None)
        except BaseException as error:  # noqa: BLE001  raised in the thread that asks for the result
            self.result.set_exception(error)
        else:
            self.result.set_result(None)

    def stop(self, *, is_quiet: bool = False) -> None:
        """End it if it has not ended yet.

        Raises:
            Exception: what it ended with, unless `is_quiet`.
        """
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(timeout=STOPS_S)
        if not self._loop.is_running():
            self._loop.close()
        if not is_quiet:
            self.result.result(timeout=0)

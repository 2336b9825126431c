"""The demo's digits, and how they are sent: each as a job of its own. Prints nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from ferry.cli.demo_figures import Answer
from ferry.cli.terminal import Pixels
from ferry.client import AsyncClient, Prediction
from ferry.errors import ConfigError, FerryError
from ferry.manifest import read_manifest
from ferry.repository import Repository

SAMPLES = Path("samples") / "digits.npz"
MAX_IN_FLIGHT = 128  # requests under way: enough for the queue to fill while a batch runs
RESULT_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Samples:
    """Digits to send and what they are.

    images: (N, 28, 28) uint8, 0 is paper and 255 ink. truths: (N,) uint8. Names are of the model's tensors.
    """

    model: str
    input_name: str
    output_name: str
    images: Pixels
    truths: Pixels

    def take(self, n_jobs: int) -> "Samples":
        """Return `n_jobs` digits, from the beginning again where there are fewer."""
        picks = np.arange(n_jobs) % len(self.images)
        return Samples(self.model, self.input_name, self.output_name, self.images[picks], self.truths[picks])


def read_samples(models_dir: Path, model: str) -> Samples:
    """Read the sample digits beside the newest version of a model.

    Raises:
        NotFoundError: when there is no such model.
        ConfigError: when it comes without digits.
    """
    repository = Repository(models_dir)
    folder = repository.folder(model, repository.latest(model))
    manifest = read_manifest(folder)
    try:
        with np.load(folder / SAMPLES, allow_pickle=False) as file:
            images, truths = file["x"], file["y"]
    except FileNotFoundError:
        raise ConfigError(f"model {model!r} has no {folder / SAMPLES}; the demo sends the digits in it") from None
    return Samples(manifest.ref, manifest.inputs[0].name, manifest.outputs[0].name, images, truths)


class Progressing:
    """How far the run is: counted by the senders, looked at by the bars."""

    def __init__(self) -> None:
        self.n_submitted = 0
        self.n_finished = 0


async def send_all(
    api_url: str, samples: Samples, progress: Progressing, transport: httpx.AsyncBaseTransport
) -> list[Answer]:
    """Submit every digit as a job of its own, many at a time, then gather the results."""
    jobs: list[Prediction | str] = [""] * len(samples.images)
    answers: list[Answer | None] = [None] * len(samples.images)
    async with AsyncClient(api_url, max_in_flight=MAX_IN_FLIGHT, transport=transport) as client:

        async def submit(index: int) -> None:
            jobs[index] = await _submit(client, samples, index)
            progress.n_submitted += 1

        async def finish(index: int) -> None:
            answers[index] = await _finish(client, samples, index, jobs[index])
            progress.n_finished += 1

        await _for_each(len(jobs), submit)
        await _for_each(len(jobs), finish)
    return [answer for answer in answers if answer is not None]


async def _for_each(n_items: int, action: Callable[[int], Awaitable[None]]) -> None:
    """Do it for 0 .. n_items - 1, many at a time; no task per item, which a Ctrl-C would have to cancel one by one."""
    indexes = iter(range(n_items))

    async def take_turns() -> None:
        for index in indexes:
            await action(index)

    await asyncio.gather(*(take_turns() for _ in range(min(MAX_IN_FLIGHT, n_items))))


async def _submit(client: AsyncClient, samples: Samples, index: int) -> Prediction | str:
    pixels = np.float32(samples.images[index]) / np.float32(255)
    try:
        return await client.submit(samples.model, {samples.input_name: pixels})
    except FerryError as error:
        return _fault_of(error)


async def _finish(client: AsyncClient, samples: Samples, index: int, job: Prediction | str) -> Answer:
    image, truth = samples.images[index], int(samples.truths[index])
    if isinstance(job, str):
        return Answer(image, truth, None, fault=job)
    try:
        done = await client.wait(job.id, RESULT_TIMEOUT_S)
    except FerryError as error:
        return Answer(image, truth, None, fault=_fault_of(error))
    if not done.has_succeeded:
        return Answer(image, truth, done, fault=f"{done.error_code or done.status}: {done.error}")
    return Answer(image, truth, done, tuple(done.output[samples.output_name]))


def _fault_of(error: FerryError) -> str:
    return f"{error.code}: {error.detail}"

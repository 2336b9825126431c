"""Every graph of the corpus on a real stack: 24 jobs at once over HTTP, each answered as the model answers it alone."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import numpy as np
import pytest

from tests import onnx_models
from tests.corpus.models import CORPUS
from tests.corpus.served import ServedCase, publish
from tests.integration.conftest import publish as put_toy
from tests.integration.sites import Site
from tests.manifests import manifest, spec
from tests.processes import GIVE_UP_S

# Jobs of so many graphs are on their way together.
GRAPHS_AT_ONCE = 4


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> list[ServedCase]:
    root = tmp_path_factory.mktemp("models")
    put_toy(root, onnx_models.doubled(), manifest("toy", outputs=(spec("y", "float32", 3),)))
    every = [publish(case, root) for case in CORPUS]
    return [case for case in every if case.is_repeatable()]


@pytest.fixture(scope="module")
def url(served: list[ServedCase], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        site = Site(stack, folder, served[0].folder.parent.parent, folder / "redis")
        for _ in range(2):
            site.start_worker()
        _, client = site.start_api()
        yield str(client.base_url)


def body_of(served: ServedCase, job: dict[str, np.ndarray]) -> dict[str, object]:
    inputs = {spec.name: job[spec.name].tolist() for spec in served.manifest.inputs}
    return {"version": served.manifest.ref, "input": inputs}


async def answer(client: httpx.AsyncClient, served: ServedCase, job: dict[str, np.ndarray]) -> list[np.ndarray]:
    response = await client.post("/v1/predictions", json=body_of(served, job), headers={"Prefer": "wait=60"})
    body = response.json()
    assert (response.status_code, body.get("status")) == (201, "succeeded"), (served.case.name, body)
    shapes = body["output_shapes"] or {}
    return [
        np.array(body["output"][spec.name], object if spec.is_string else spec.dtype).reshape(shapes.get(spec.name, -1))
        for spec in served.manifest.outputs
    ]


async def n_wrong(client: httpx.AsyncClient, served: ServedCase, turn: asyncio.Semaphore) -> int:
    async with turn:
        answers = await asyncio.gather(*(answer(client, served, job) for job in served.jobs))
    session, wrong = served.session(), 0
    for job, got in zip(served.jobs, answers, strict=True):
        right = served.alone(session, job)
        wrong += served.differs([each.reshape(want.shape) for each, want in zip(got, right, strict=True)], right)
    return wrong


async def all_wrong(url: str, served: list[ServedCase]) -> dict[str, int]:
    turn = asyncio.Semaphore(GRAPHS_AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=2 * GIVE_UP_S) as client:
        counts = await asyncio.gather(*(n_wrong(client, each, turn) for each in served))
    return {each.case.name: count for each, count in zip(served, counts, strict=True) if count}


def test_corpus_when_24_jobs_of_each_graph_come_at_once_then_every_answer_is_the_models(
    url: str, served: list[ServedCase]
) -> None:
    assert len(served) >= 0.95 * len(CORPUS)
    assert asyncio.run(all_wrong(url, served)) == {}

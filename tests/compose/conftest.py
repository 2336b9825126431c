"""The stack in containers, once for all tests that leave it as it was."""

from collections.abc import Iterator

import pytest

from tests.compose.stack import ComposeStack, running, why_not

# A setting made as .env would; its default is 3.
MAX_ATTEMPTS = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with the reason where there is no engine; building images takes longer than other tests may."""
    mine = [item for item in items if "tests/compose/" in item.nodeid]
    reason = why_not() if mine else None
    for item in mine:
        item.add_marker(pytest.mark.timeout(1200))
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"the compose tests did not run: {reason}"))


@pytest.fixture(scope="session")
def stack() -> Iterator[ComposeStack]:
    """Redis, API, a worker and Flower, healthy."""
    yield from running(ComposeStack("ferrytest", {"FERRY_MAX_ATTEMPTS": str(MAX_ATTEMPTS)}))


@pytest.fixture(scope="session")
def key(stack: ComposeStack) -> str:
    return stack.make_key("tests")

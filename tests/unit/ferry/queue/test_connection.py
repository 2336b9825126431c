import asyncio

import pytest
import redis
import redis.asyncio
import uvloop

from ferry.errors import QueueUnavailableError
from ferry.queue.connection import (
    CALL_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    POOL_SIZE,
    connect,
    connect_async,
    redis_errors,
)
from ferry.queue.pool import FairPool, PoolExhaustedError
from ferry.settings import NAMESPACE

URL = "redis://:hunter2@localhost:1/0"


def refused(error: BaseException) -> QueueUnavailableError:
    with pytest.raises(QueueUnavailableError) as caught, redis_errors():
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def replied(message: str) -> Exception:
    """Return the error that redis-py makes of an error reply."""
    return redis.connection.DefaultParser.parse_error(message)


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("Connection refused"),
        redis.TimeoutError("Timeout reading from socket"),
        redis.exceptions.AuthenticationError("WRONGPASS"),
        ConnectionResetError("reset"),
        BrokenPipeError(),
        TimeoutError(),
        OSError("no route"),
    ],
)
def test_redis_errors_when_redis_does_not_answer_then_unavailable_and_worth_a_retry(error: Exception) -> None:
    raised = refused(error)
    assert raised.detail.startswith("Redis does not answer: ")
    assert raised.detail.endswith(str(error) or type(error).__name__)
    assert (raised.retryable, raised.retry_after_s) == (True, 1)


async def write_to_a_closed_connection() -> RuntimeError:
    """Return what the event loop raises where Redis goes between a connect and the first command."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.transport.abort()
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError) as caught:
        writer.writelines([b"PING"])
    server.close()
    return caught.value


def test_redis_errors_when_the_connection_closed_before_the_command_then_unavailable() -> None:
    raised = refused(uvloop.run(write_to_a_closed_connection()))
    assert raised.detail == "Redis does not answer: the connection was closed"
    assert (raised.retryable, raised.retry_after_s) == (True, 1)


def test_redis_errors_when_another_runtime_error_is_raised_then_it_passes_through() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"), redis_errors():
        raise RuntimeError("no running event loop")


def test_redis_errors_when_the_message_has_lines_then_only_the_first() -> None:
    assert refused(redis.ConnectionError("one\ntwo")).detail == "Redis does not answer: one"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "no memory left"),
        ("ERR Error running script: @user_script:40: -OOM command not allowed when used memory", "no memory left"),
        ("MISCONF Redis is configured to save RDB snapshots, but it is unable to persist", "append-only file"),
        ("ERR Error running script: @user_script:9: -MISCONF Errors writing to the AOF file", "append-only file"),
        ("READONLY You can't write against a read only replica.", "does not take writes"),
        ("LOADING Redis is loading the dataset in memory", "Redis does not answer"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "does not take writes"),
        ("NOREPLICAS Not enough good replicas to write.", "does not take writes"),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", "does not take writes"),
    ],
)
def test_redis_errors_when_redis_refuses_for_now_then_unavailable_with_the_reason(message: str, said: str) -> None:
    raised = refused(replied(message))
    assert said in raised.detail
    assert raised.retry_after_s == 1


@pytest.mark.parametrize("message", ["WRONGTYPE Operation against a key", "ERR Error compiling script", "NOPERM no"])
def test_redis_errors_when_the_fault_is_ours_then_it_passes_through(message: str) -> None:
    error = replied(message)
    with pytest.raises(redis.ResponseError) as caught, redis_errors():
        raise error
    assert caught.value is error


def test_redis_errors_when_nothing_of_redis_is_raised_then_it_passes_through() -> None:
    with pytest.raises(KeyError), redis_errors():
        raise KeyError("x")


@pytest.mark.parametrize("make", [connect, connect_async])
def test_connect_when_made_then_every_wait_is_bounded_and_nothing_is_sent_twice(make) -> None:
    options = make(URL, NAMESPACE).redis.connection_pool.connection_kwargs
    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (CONNECT_TIMEOUT_S, CALL_TIMEOUT_S)
    assert options["retry"].get_retries() == 0
    assert options["decode_responses"] is False
    assert options["password"] == "hunter2"


def test_connect_async_when_made_then_its_pool_is_bounded_and_fair() -> None:
    pool = connect_async(URL, NAMESPACE).redis.connection_pool
    assert isinstance(pool, FairPool)
    assert pool.max_connections == POOL_SIZE


def test_redis_errors_when_the_own_pool_is_in_use_then_redis_is_not_blamed() -> None:
    with pytest.raises(QueueUnavailableError) as caught, redis_errors():
        raise PoolExhaustedError("no free connection to Redis for 30 s: all 32 of this process are in use")
    assert caught.value.detail.endswith("all 32 of this process are in use; send it again")
    assert "does not answer" not in caught.value.detail

"""Whether a Redis answers and is new enough. Knows nothing of how it was started; never shows a password."""

from enum import Enum
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ferry.errors import ConfigError

MIN_REDIS = (6, 2)
TIMEOUT_S = 3.0
DEFAULT_PORT = 6379


class Pong(Enum):
    """How a Redis takes a PING."""

    READY = "ready"
    LOADING = "loading"
    SILENT = "silent"


def ping(url: str) -> Pong:
    """Send one PING."""
    try:
        with _connect(url) as client:
            client.ping()
    except redis.BusyLoadingError:
        return Pong.LOADING
    except (redis.ConnectionError, redis.TimeoutError):
        return Pong.SILENT
    return Pong.READY


def check_redis(url: str) -> None:
    """Make sure that a Redis given by the user can be used.

    Raises:
        ConfigError: naming host and port and what is wrong.
    """
    place = place_of(url)
    try:
        with _connect(url) as client:
            version = str(client.info("server")["redis_version"])
    except redis.AuthenticationError:
        raise ConfigError(f"the Redis of FERRY_REDIS_URL at {place} refuses the user name or password") from None
    except redis.BusyLoadingError:
        raise ConfigError(f"the Redis of FERRY_REDIS_URL at {place} is loading its data; try again later") from None
    except (redis.ConnectionError, redis.TimeoutError):
        raise ConfigError(
            f"no Redis answers at {place} (FERRY_REDIS_URL); start it, correct the address, or leave "
            "FERRY_REDIS_URL empty to use the embedded one"
        ) from None
    except redis.RedisError as error:
        raise ConfigError(f"the Redis of FERRY_REDIS_URL at {place} refuses INFO: {error}") from None
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_REDIS:
        raise ConfigError(f"the Redis at {place} is version {version}; Ferry needs 6.2 or newer")


def place_of(url: str) -> str:
    """Return `host:port` of a Redis address.

    Raises:
        ConfigError: when it cannot be read. The text of the fault is left out, for it may hold part of the password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or DEFAULT_PORT
    except ValueError:
        raise ConfigError(
            "FERRY_REDIS_URL is no address (redis://[user:password@]host:port/0); "
            "signs such as / # @ in a password are written %2F %23 %40"
        ) from None
    return f"{host}:{port}"


def _connect(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )

"""Watches from outside whether every worker takes tickets: a process that lives and has gone deaf serves nobody."""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import redis

LOOK_EVERY_S = 0.5
# A worker that was not seen waiting for a ticket for this long, with Redis there, is deaf.
DEAF_S = 30.0
LISTENING = "0A"  # not of interest: <net/tcp_states.h> TCP_LISTEN


def local_ports(pid: int) -> set[int]:
    """Return the local TCP ports of a process's sockets, empty when it is gone."""
    try:
        links = [fd.readlink().name for fd in Path(f"/proc/{pid}/fd").iterdir()]
        table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return set()
    inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    rows = (line.split() for line in table)
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in inodes and row[3] != LISTENING}


class Watch(threading.Thread):
    """Looks at Redis' client list; complains of a worker that does not come for tickets."""

    def __init__(self, connect: Callable[[], "redis.Redis"], workers: Callable[[], Iterable[tuple[int, str]]]) -> None:
        """`workers` gives pid and name of those that should be taking tickets now."""
        super().__init__(name="chaos-watch", daemon=True)
        self.complaints: list[str] = []
        self.longest_s = 0.0
        self._connect = connect
        self._workers = workers
        self._seen: dict[int, float] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Look again and again; while Redis is away, nobody can be seen."""
        while not self._stopping.wait(LOOK_EVERY_S):
            workers = dict(self._workers())
            self._seen = {pid: since for pid, since in self._seen.items() if pid in workers}
            try:
                with self._connect() as client:
                    taking = {int(each["addr"].rpartition(":")[2]) for each in client.client_list() if _takes(each)}
            except (redis.RedisError, OSError):
                self._seen.clear()
                continue
            for pid, name in workers.items():
                self._look_at(pid, name, taking)

    def _look_at(self, pid: int, name: str, taking: set[int]) -> None:
        now = time.monotonic()
        since = self._seen.setdefault(pid, now)
        self.longest_s = max(self.longest_s, now - since)
        if taking & local_ports(pid):
            self._seen[pid] = now
        elif now - since > DEAF_S:
            self.complaints.append(f"{name} lives and took no ticket for {DEAF_S:g} s")
            self._seen[pid] = now


def _takes(client: dict[str, str]) -> bool:
    return client["cmd"].lower() == "brpop"

"""One attack as a process of its own: `python -m benchmarks.attacks.attacker SHAPE N SECONDS HOST PORT [KEY]`.

N connections, each opened again as soon as the server ends it. Prints what was seen and its own processor time as JSON.
"""

import json
import re
import select
import socket
import sys
import threading
import time
from collections import Counter

from benchmarks.attacks.shapes import NEVER_READ, SHAPES

# Between two connections of one attacker.
PAUSE_S = 0.01
TIMEOUT_S = 1.0
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Attack:
    """What N threads share."""

    def __init__(self, shape: str, address: tuple[str, int], key: bytes, ends: float) -> None:
        self._shape = shape
        self._address = address
        self._key = key
        self._ends = ends
        self.seen: Counter[str] = Counter()
        self.n_bytes = 0

    def run(self) -> None:
        """Attack until the time is over."""
        while time.monotonic() < self._ends:
            self.seen["connections"] += 1
            try:
                with socket.create_connection(self._address, TIMEOUT_S) as connection:
                    self._attack(connection)
            except OSError as error:
                self.seen[type(error).__name__] += 1
            time.sleep(PAUSE_S)

    def _attack(self, connection: socket.socket) -> None:
        for piece, pause_s in SHAPES[self._shape](self._key):
            if time.monotonic() >= self._ends:
                return
            if piece:
                connection.sendall(piece)
                self.n_bytes += len(piece)
            if self._shape in NEVER_READ:
                time.sleep(pause_s)
            elif self._has_ended(connection, pause_s):
                return
        self._has_ended(connection, TIMEOUT_S)

    def _has_ended(self, connection: socket.socket, wait_s: float) -> bool:
        while select.select([connection], [], [], wait_s)[0]:
            data = connection.recv(2**20)
            if not data:
                return True
            self.seen.update(statuses_of(data))
            wait_s = 0.0
        return False


def statuses_of(data: bytes) -> list[str]:
    """Return the status of each answer that begins in what was received."""
    return [status.decode() for status in _STATUS.findall(data)]


def main() -> int:
    """Attack, and print."""
    shape, n, seconds, host, port, *key = sys.argv[1:]
    attack = Attack(shape, (host, int(port)), "".join(key).encode(), time.monotonic() + float(seconds))
    threads = [threading.Thread(target=attack.run) for _ in range(int(n))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"cpu_s": time.process_time(), "bytes": attack.n_bytes, "seen": attack.seen}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

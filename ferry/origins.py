"""Where work came from: the request and trace ids that go with a job from the API through the queue into every log.

W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context/). Knows neither HTTP nor Redis.
"""

import hashlib
import re
from dataclasses import dataclass

from ferry.job_ids import own_id
from ferry.jobs import new_job_id

# What a client may send as a request id: it goes into logs and headers as it is.
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
# Later versions of the format begin with the same four fields.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
# Longer than a tracestate may be refused, and is (level 1, section 3.3.1.5).
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Origin:
    """The request that something was made by. traceparent, tracestate: as they came; empty where there was none."""

    request_id: str
    traceparent: str = ""
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hexadecimal digits; of a request that came without one it follows from its id."""
        if self.traceparent:
            return self.traceparent[3:35]
        return hashlib.blake2b(self.request_id.encode("utf-8"), digest_size=16).hexdigest()

    def packed(self, job_id: str) -> str:
        """Return it as one line of text to go with a job; empty where the job's own id says it all."""
        if not self.traceparent:
            return "" if self.request_id == own_id(job_id) else self.request_id
        return f"{self.request_id} {self.traceparent} {self.tracestate}".rstrip()


def new_origin() -> Origin:
    """Return the origin of a request that brings no ids."""
    return Origin(new_job_id())


def origin_from_headers(request_id: str | None, traceparent: str | None, tracestate: str | None) -> Origin:
    """Return the origin of a request by its headers; an id that is not valid is as none."""
    known = request_id if request_id and _REQUEST_ID.fullmatch(request_id) else new_job_id()
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    # Version 00 has these four fields and no more.
    if found is None or (found[1] == "00" and found[5]):
        return Origin(known)
    state = tracestate if tracestate and _TRACESTATE.fullmatch(tracestate) else ""
    return Origin(known, "-".join(found.group(1, 2, 3, 4)), state)


def unpack_origin(text: str, job_id: str) -> Origin:
    """Return what `packed` made a text of."""
    request_id, _, trace = text.partition(" ")
    traceparent, _, tracestate = trace.partition(" ")
    return Origin(request_id or own_id(job_id), traceparent, tracestate)

"""What one request has of its own: its ids, who asks, and what became of it. Made at the door."""

from fastapi import Request
from starlette.types import Scope

from api.access import ANYBODY, Caller
from ferry.jobs import JobLimits, LimitsLeft, new_job_id
from ferry.origins import Origin, new_origin

# A request's scope holds its context under this name.
CONTEXT = "ferry.context"
# The status of an answer that the connection gave itself, while the application read the body.
ANSWERED_STATUS = "ferry.answered_status"


class Context:
    """One request's own. work_id: of the job, file or batch that it was about, once that is known.

    left: the rest of the limits of the caller's key, once the queue has counted.
    """

    __slots__ = ("caller", "has_own_id", "left", "origin", "status", "work_id")

    def __init__(self, origin: Origin, caller: Caller = ANYBODY, *, has_own_id: bool = False) -> None:
        """`has_own_id`: the request's id is its client's, who may use it for several."""
        self.origin = origin
        self.caller = caller
        self.has_own_id = has_own_id
        self.left: LimitsLeft | None = None
        self.work_id = ""
        self.status = 0

    def identify(self, caller: Caller) -> None:
        """Take note of who asks."""
        self.caller = caller

    def new_job_id(self) -> str:
        """Return an id for the job that this request submits: its own, where nobody else can have that."""
        return new_job_id() if self.has_own_id else self.origin.request_id

    @property
    def limits(self) -> JobLimits | None:
        """What limits the jobs of the caller's key, if anything does."""
        key = self.caller.key
        if key is None or (key.rate_per_s is None and key.max_unfinished is None):
            return None
        return JobLimits(key.limited_as or key.id, key.rate_per_s, key.max_unfinished)


def context_of(request: Request) -> Context:
    """Return the context of a request."""
    return context_in(request.scope)


def context_in(scope: Scope) -> Context:
    """Return the context in a scope; a request that came by no door (a test's) gets one."""
    context = scope.get(CONTEXT)
    if not isinstance(context, Context):
        context = scope[CONTEXT] = Context(new_origin())
    return context


def caller_of(request: Request) -> Caller:
    """Return who asks."""
    return context_in(request.scope).caller

"""Cross-origin requests of pages elsewhere (FERRY_CORS_ORIGINS). Knows no route and no key."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ferry.networks import words_of

METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT")
# Headers of answers that a page may read beside those that every page may.
EXPOSED = (
    "Content-Disposition", "Content-Range", "ETag", "Idempotent-Replayed", "Inference-Header-Content-Length",
    "Location", "Preference-Applied", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID", "X-Should-Retry",
)  # fmt: skip
# Browsers ask again after this time.
PREFLIGHT_S = 600


def with_cors(app: ASGIApp, origins: str) -> ASGIApp:
    """Return `app` with answers for preflights and the headers that let pages of `origins` read its answers.

    origins: comma-separated, or `*`. An API key travels in a header that the page sets, so no cookie and no other
    credential of the browser is ever let in. Any request header may be sent: clients of OpenAI's API have many.
    """
    return CORSMiddleware(
        app, allow_origins=words_of(origins), allow_methods=METHODS, allow_headers=["*"], allow_credentials=False,
        expose_headers=EXPOSED, max_age=PREFLIGHT_S,
    )  # fmt: skip

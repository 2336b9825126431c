"""Start a real API that would wait for its requests for days when it is told to stop: none of them may need that.

`python -m tests.fakes.patient_api`, as `python -m api`.
"""

import sys

from api import __main__ as api

PATIENCE_S = 10**6

if __name__ == "__main__":
    api.SHUTDOWN_GRACE_S = PATIENCE_S
    sys.exit(api.main())

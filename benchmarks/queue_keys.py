"""The names of the keys of the stack that is measured, which has the default namespace."""

from ferry.queue.keys import Keys
from ferry.settings import NAMESPACE

KEYS = Keys(NAMESPACE)

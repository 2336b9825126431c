"""Everything on one machine: an embedded Redis and the processes beside it."""

"""How a job's id carries its owner. The one place that knows; knows neither Redis nor HTTP.

Clients may choose ids, so two owners may choose the same one. The queue, the workers, the logs and Flower know a job as
`{owner}~{id}`, and as `{id}` where no API keys are asked for. Its owner knows it as `{id}`.
"""

# Neither an owner's name nor an id that a client may choose has it.
SEPARATOR = "~"


def scoped_id(owner: str, own_id: str) -> str:
    """Return the id by which the queue knows the job that `owner` calls `own_id`."""
    return f"{owner}{SEPARATOR}{own_id}" if owner else own_id


def split_id(job_id: str) -> tuple[str, str]:
    """Return the owner of a job, empty where it has none, and what its owner calls it."""
    owner, found, own_id = job_id.partition(SEPARATOR)
    return (owner, own_id) if found else ("", job_id)


def own_id(job_id: str) -> str:
    """Return what its owner calls a job."""
    return split_id(job_id)[1]

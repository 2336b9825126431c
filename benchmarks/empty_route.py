"""A FastAPI application that does nothing: what the web framework costs by itself."""

from fastapi import FastAPI

app = FastAPI()


@app.post("/")
async def empty() -> dict[str, str]:
    """Answer {}."""
    return {}

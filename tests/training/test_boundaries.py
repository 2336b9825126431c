import ast
from pathlib import Path

TRAINING = Path(__file__).parents[2] / "training"
# What training may know of Ferry; api, worker and the queue are none of its business.
ALLOWED = {"ferry.manifest", "ferry.errors"}


def test_training_when_its_imports_are_read_then_it_knows_only_manifest_and_errors():
    found = set()
    for path in TRAINING.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                found.add(node.module)
            elif isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)

    ours = {name for name in found if name.split(".")[0] in {"ferry", "api", "worker"}}
    assert ours == ALLOWED

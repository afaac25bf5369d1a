"""How fast, and how dear, the operator is with a thousand pipelines: ``python3 -m tools.bench``."""

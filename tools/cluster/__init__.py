"""A real Kubernetes cluster for development and tests, on a machine that may have none.

Run ``python3 -m tools.cluster --help`` in the repository's root. Nothing but Python's
standard library is needed; see ``tools/cluster/README.md``.
"""

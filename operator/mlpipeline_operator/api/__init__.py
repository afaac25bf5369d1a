"""The kinds as pydantic models: the only source of the CRDs, and of what a wire object may hold."""

"""One level-triggered reconcile per kind."""

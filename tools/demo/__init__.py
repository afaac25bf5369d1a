"""``make demo``: from a bare machine to a trained model in an ``MLPipeline``, and how to look at it."""

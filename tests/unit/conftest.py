"""Hypothesis as this project wants it: no example is timed, since a busy machine is not a defect."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("mlpipeline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mlpipeline")

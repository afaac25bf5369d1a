"""Schedules: cron expressions and presets, read by the library that Airflow reads them with."""

from __future__ import annotations

from typing import Final
from zoneinfo import available_timezones

from croniter import croniter
from croniter.croniter import CroniterError

from mlpipeline_operator.errors import SpecError

__all__ = ["check_schedule", "check_timezone"]

# Airflow's; `@once` and `@continuous` are no times (the first apply starts a run anyway).
_PRESETS: Final = frozenset({"@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly"})
_ZONES: Final = available_timezones()


def check_schedule(schedule: str) -> str:
    """Return the schedule if Airflow can read it.

    Raises:
        SpecError: It cannot; the message is croniter's.
    """
    if schedule in _PRESETS:
        return schedule
    if len(schedule.split()) != 5:
        raise SpecError(f"spec.schedule: {schedule!r} must have five cron fields, such as 0 2 * * *")
    try:
        croniter.expand(schedule)
    except (CroniterError, ValueError, KeyError, TypeError) as error:
        raise SpecError(f"spec.schedule: {schedule!r} is not a cron expression: {error}") from error
    return schedule


def check_timezone(timezone: str) -> str:
    """Return the time zone if there is one of that name.

    Raises:
        SpecError: There is none.
    """
    if timezone not in _ZONES:
        raise SpecError(
            f"spec.timezone: there is no time zone {timezone!r}; write one such as UTC or Europe/Berlin"
        )
    return timezone

"""The closed lists of states that status shows, each word explained where ``kubectl explain`` finds it."""

from __future__ import annotations

from typing import Literal

RunState = Literal[
    "WaitingForAirflow",
    "WaitingForDag",
    "Queued",
    "PullingImage",
    "Running",
    "Succeeded",
    "Failed",
    "Superseded",
    "Cancelled",
    "Suspended",
]
PipelineState = Literal[
    "Pending",
    "WaitingForAirflow",
    "WaitingForDag",
    "Idle",
    "Queued",
    "PullingImage",
    "Running",
    "Succeeded",
    "Failed",
    "Superseded",
    "Cancelled",
    "Suspended",
    "Invalid",
]
StepState = Literal[
    "Pending", "Queued", "PullingImage", "Running", "Retrying", "Succeeded", "Failed", "Skipped"
]
Trigger = Literal["Change", "Request", "User", "Schedule", "Airflow"]
AirflowState = Literal["Pending", "Running", "Invalid"]

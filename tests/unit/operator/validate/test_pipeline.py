from __future__ import annotations

from typing import Any

import pytest

from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import validate_pipeline
from mlpipeline_operator.values import Images, Objective, Owner, PipelineValue, RunPolicy, TrainingStep

IMAGES = Images(airflow="airflow:1", trainer="trainer:1", postgres="postgres:1")
OWN_CODE = {"image": "registry.example.com/churn:1.4", "entrypoint": "churn.train:main"}


def body(name: str = "mnist", **spec: Any) -> dict[str, Any]:
    spec = {"training": {"dataset": "mnist"}, **spec}
    return {"metadata": {"name": name, "namespace": "team", "uid": "u-1"}, "spec": spec}


def validated(**spec: Any) -> PipelineValue:
    return validate_pipeline(body(**spec), IMAGES)


def step(**training: Any) -> TrainingStep:
    return validated(training=training).steps[0]


def test_the_least_pipeline_has_every_default_filled_in() -> None:
    assert validate_pipeline(body(), IMAGES) == PipelineValue(
        owner=Owner("mlpipelines.dev/v1alpha1", "MLPipeline", "team", "mnist", "u-1"),
        airflow="default",
        dag_id="team.mnist",
        steps=(
            TrainingStep(
                name="train",
                image="trainer:1",
                image_pull_policy="IfNotPresent",
                python="/opt/trainer/bin/python",
                dataset="mnist",
                data_uri=None,
                entrypoint=None,
                env=(),
                resources={},
                gpu=False,
            ),
        ),
        parameters={},
        objective=None,
        schedule=None,
        timezone="UTC",
        suspend=False,
        policy=RunPolicy(
            on_change=True,
            concurrency="Allow",
            retries=0,
            retry_delay=10,
            max_retry_delay=3600,
            deadline=None,
            pending_deadline=24 * 3600,
            ttl_after_finished=None,
            keep_successful=20,
            keep_failed=20,
        ),
        service_account="airflow-default-worker",
        artifacts_claim="airflow-default-artifacts",
        run_hash=validated().run_hash,
    )


def test_what_the_user_says_wins_over_every_default() -> None:
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}]
    value = validated(
        training={
            **OWN_CODE,
            "imagePullPolicy": "Always",
            "dataUri": "s3://bucket/churn",
            "env": env,
            "resources": {"limits": {"memory": "4Gi", "nvidia.com/gpu": 1}},
        },
        parameters={"lr": 0.001, "bias": True},
        objective={"metric": "val_loss", "goal": "Minimize"},
        airflow={"name": "shared"},
        schedule="30 4 * * mon-fri",
        timezone="Europe/Berlin",
        suspend=True,
        runPolicy={
            "onChange": True,
            "concurrency": "Forbid",
            "retries": 2,
            "backoff": {"delay": "1m", "maxDelay": "5m"},
            "deadline": "1h30m",
            "pendingDeadline": "15m",
            "ttlAfterFinished": "48h",
            "history": {"successful": 3, "failed": 0},
        },
    )
    assert value.steps[0] == TrainingStep(
        name="train",
        image="registry.example.com/churn:1.4",
        image_pull_policy="Always",
        python="/opt/trainer/bin/python",
        dataset=None,
        data_uri="s3://bucket/churn",
        entrypoint="churn.train:main",
        env=tuple(env),
        resources={"limits": {"memory": "4Gi", "nvidia.com/gpu": "1"}},
        gpu=True,
    )
    assert value.parameters == {"bias": "true", "lr": "0.001"}
    assert value.objective == Objective("val_loss", "Minimize")
    assert (value.airflow, value.service_account) == ("shared", "airflow-shared-worker")
    assert value.artifacts_claim == "airflow-shared-artifacts"
    assert (value.schedule, value.timezone, value.suspend) == ("30 4 * * mon-fri", "Europe/Berlin", True)
    assert value.policy == RunPolicy(
        on_change=True,
        concurrency="Forbid",
        retries=2,
        retry_delay=60,
        max_retry_delay=300,
        deadline=5400,
        pending_deadline=900,
        ttl_after_finished=48 * 3600,
        keep_successful=3,
        keep_failed=0,
    )


def test_a_schedule_takes_the_place_of_runs_on_change() -> None:
    assert not validated(schedule="@daily").policy.on_change
    assert validated(schedule="@daily", runPolicy={"onChange": True}).policy.on_change


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"schedule": "0 25 * * *"}, "spec.schedule: '0 25 * * *' is not a cron expression"),
        ({"schedule": "* * * *"}, "must have five cron fields"),
        ({"schedule": "0 0 31 13 *"}, "is not a cron expression"),
        ({"schedule": "@daily", "timezone": "Europe/Bonn"}, "there is no time zone 'Europe/Bonn'"),
        ({"runPolicy": {"deadline": "0s"}}, "spec.runPolicy.deadline: no run could meet"),
        ({"runPolicy": {"ttlAfterFinished": "2d"}}, "'2d' is not a duration; write 90s"),
        ({"runPolicy": {"deadline": "90000h"}}, "is over ten years"),
        ({"runPolicy": {"backoff": {"delay": "2h"}}}, "maxDelay must not be shorter than delay"),
    ],
    ids=str,
)
def test_times_that_cannot_be_kept_are_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        validated(**spec)
    assert message in error.value.message


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("churn", "Always"),
        ("churn:latest", "Always"),
        ("localhost:5000/churn", "Always"),
        ("localhost:5000/churn:1", "IfNotPresent"),
        (f"churn@sha256:{'a' * 64}", "IfNotPresent"),
    ],
)
def test_an_image_that_may_move_is_pulled_at_every_start(image: str, policy: str) -> None:
    assert step(image=image, entrypoint="train.py").image_pull_policy == policy


@pytest.mark.parametrize(
    ("limits", "gpu"),
    [
        ({}, False),
        ({"cpu": 2}, False),
        ({"nvidia.com/gpu": 0}, False),
        ({"nvidia.com/gpu": "2"}, True),
        ({"nvidia.com/mig-1g.5gb": 1}, True),
        ({"example.com/fpga": 1}, False),
    ],
)
def test_a_gpu_is_asked_for_by_its_limit(limits: dict[str, Any], gpu: bool) -> None:
    assert step(dataset="mnist", resources={"limits": limits}).gpu is gpu


def run_hash(**spec: Any) -> str:
    return validated(**spec).run_hash


@pytest.mark.parametrize(
    "change",
    [
        {"objective": {"metric": "loss"}},
        {"airflow": {"name": "other"}},
        {"runPolicy": {"retries": 3, "onChange": False, "deadline": "1h", "concurrency": "Forbid"}},
        {"schedule": "@daily", "timezone": "Europe/Berlin"},
        {"suspend": True},
        {"training": {"dataset": "mnist", "resources": {"limits": {"cpu": 2}}}},
        {"training": {"dataset": "mnist", "imagePullPolicy": "Never"}},
        {"training": {"dataset": "mnist", "env": []}},
        {"parameters": {}},
    ],
    ids=str,
)
def test_what_is_not_the_workload_starts_no_run(change: dict[str, Any]) -> None:
    assert run_hash(**change) == run_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"epochs": 3}},
        {"training": {"dataset": "mnist", "dataUri": "/data"}},
        {"training": {"dataset": "mnist", "image": "mine:1"}},
        {"training": {"dataset": "mnist", "env": [{"name": "A", "value": "1"}]}},
        {"training": OWN_CODE},
    ],
    ids=str,
)
def test_a_change_of_the_workload_starts_a_run(change: dict[str, Any]) -> None:
    assert run_hash(**change) != run_hash()


def test_an_operator_that_comes_with_another_trainer_starts_no_run() -> None:
    other = Images(airflow="airflow:2", trainer="trainer:2", postgres="postgres:2")
    assert validate_pipeline(body(), other).run_hash == validate_pipeline(body(), IMAGES).run_hash


def test_two_ways_to_write_a_number_are_one_workload() -> None:
    assert run_hash(parameters={"epochs": 3}) == run_hash(parameters={"epochs": 3.0})


def test_the_order_of_parameters_and_variables_starts_no_run() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    first = run_hash(parameters={"a": 1, "b": 2}, training={"dataset": "mnist", "env": env})
    second = run_hash(parameters={"b": 2, "a": 1}, training={"dataset": "mnist", "env": env[::-1]})
    assert first == second


def test_the_workload_that_a_release_hashed_keeps_its_hash_in_the_next() -> None:
    # If this fails, an upgrade of the operator would train everything again.
    assert run_hash(parameters={"epochs": 3}) == "9ee5a75b2c"


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({}, "spec.training: give exactly one of dataset, entrypoint and source"),
        (
            {"dataset": "mnist", **OWN_CODE},
            "spec.training: give exactly one of dataset, entrypoint and source",
        ),
        ({"entrypoint": "a:b"}, "spec.training.image: entrypoint needs the image that holds the code"),
        ({"dataset": "cifar"}, "spec.training.dataset: input should be 'mnist'"),
        (
            {"dataset": "mnist", "resources": {"limits": {"memory": "4GB"}}},
            'spec.training.resources.limits.memory: "4GB" is not a quantity;'
            " write for example 500m, 2, 512Mi or 4Gi",
        ),
    ],
    ids=str,
)
def test_a_training_that_cannot_run_is_refused(training: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        step(**training)
    assert error.value.message == message


def test_a_missing_workload_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^spec: say what to run: exactly one of training, steps and dag$"):
        validate_pipeline({"metadata": body()["metadata"]}, IMAGES)


def test_many_errors_are_told_in_one_message_of_bounded_length() -> None:
    resources = {"limits": {f"example.com/d{number}": None for number in range(9)}}
    with pytest.raises(SpecError, match=r"; and 13 more$"):
        step(dataset="mnist", resources=resources)


@pytest.mark.parametrize("name", ["a" * 51, "a.b", "A", "-a"])
def test_a_name_that_others_cannot_be_made_from_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"metadata\.name"):
        validate_pipeline(body(name), IMAGES)


def test_fields_of_a_newer_version_do_not_stop_this_one() -> None:
    assert validated(schedule="@daily").dag_id == "team.mnist"

"""What the client makes of Airflow's answers; the same for the fake Airflow and for a real one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from mlpipeline_operator.airflow import (
    AirflowClient,
    AirflowPoller,
    Awaited,
    AwaitedDag,
    Change,
)
from mlpipeline_operator.errors import NotReadyError, SpecError
from tests.unit.operator.airflow.site import WAIT_SECONDS, Site


async def test_the_version_is_told(client: AirflowClient) -> None:
    assert (await client.version()).startswith("3.")


async def test_health_names_each_component(client: AirflowClient) -> None:
    health = await client.health()
    assert set(health.components) == {"metadatabase", "scheduler", "dag_processor", "triggerer"}
    assert health.healthy("scheduler")
    assert health.healthy("dag-processor")
    assert not health.healthy("triggerer")
    assert not health.healthy("nothing")


async def test_a_wrong_password_is_told_as_such(site: Site) -> None:
    client = AirflowClient(site.url, site.username, "wrong")
    with pytest.raises(NotReadyError, match="Invalid credentials") as caught:
        await client.dags([site.dag_id])
    await client.close()
    assert caught.value.reason == "AirflowUnauthorized"


async def test_dags_are_found_by_the_tag_of_their_hash(site: Site, client: AirflowClient) -> None:
    tag = f"mlpipelines.dev/dag-hash={site.dag_hash}"
    dags = await client.dags_tagged([tag, "mlpipelines.dev/dag-hash=never"])
    assert list(dags) == [site.dag_id]
    assert dags[site.dag_id].hashes == {site.dag_hash}
    assert dags[site.dag_id].path == site.path
    assert not dags[site.dag_id].stale
    assert not dags[site.dag_id].has_import_errors


async def test_dags_are_found_by_id_and_no_other_that_begins_alike(site: Site, client: AirflowClient) -> None:
    assert list(await client.dags([site.dag_id, "mlp-test.none"])) == [site.dag_id]
    assert set(await client.dags([site.dag_id, site.other_dag_id])) == {site.dag_id, site.other_dag_id}
    assert await client.dags([]) == {}


async def test_an_import_error_comes_with_file_line_and_message(site: Site, client: AirflowClient) -> None:
    errors = {error.path: error for error in await client.import_errors()}
    error = errors[site.broken_path]
    assert error.line == site.broken_line
    assert error.message == f"ModuleNotFoundError: No module named '{site.missing_module}'"
    assert str(error) == f"{site.broken_path}:{site.broken_line}: {error.message}"
    assert site.broken_path in {found.path for found in await client.import_errors(error.bundle)}
    assert await client.import_errors("another-bundle") == []


async def test_a_trigger_that_is_repeated_starts_one_run(site: Site, client: AirflowClient) -> None:
    run_id = site.run_id()
    conf = {"run": {"name": "mnist-1", "uid": "0"}, "parameters": {"epochs": "3"}}
    assert await client.trigger(site.dag_id, run_id, conf) is True
    assert await client.trigger(site.dag_id, run_id, conf) is False
    run = await client.dag_run(site.dag_id, run_id)
    assert run is not None
    assert run.conf == conf
    assert (run.run_type, run.triggered_by) == ("manual", "rest_api")
    assert not run.finished
    await site.until_finished(client, run_id)


async def test_a_dag_that_airflow_does_not_know_cannot_be_triggered_yet(
    site: Site, client: AirflowClient
) -> None:
    with pytest.raises(NotReadyError) as caught:
        await client.trigger("mlp-test.none", site.run_id(), {})
    assert caught.value.reason == "DagNotFound"


async def test_a_run_id_that_airflow_refuses_is_a_spec_error(site: Site, client: AirflowClient) -> None:
    with pytest.raises(SpecError, match="does not match"):
        await client.trigger(site.dag_id, "a b/c", {})


async def test_runs_that_changed_since_a_moment_are_listed(site: Site, client: AirflowClient) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    run_id = site.run_id()
    await client.trigger(site.dag_id, run_id, {})
    runs, clock = await client.dag_runs_updated_since(before)
    assert run_id in {run.run_id for run in runs}
    assert clock is not None
    assert abs(clock - datetime.now(UTC)) < timedelta(seconds=30)
    assert (await client.dag_runs_updated_since(datetime.now(UTC) + timedelta(hours=1)))[0] == []
    assert run_id in {run.run_id for run in (await client.dag_runs_updated_since(before, "mlp-test."))[0]}
    assert (await client.dag_runs_updated_since(before, "another."))[0] == []
    await site.until_finished(client, run_id)


async def test_of_many_runs_those_are_found_that_airflow_has(site: Site, client: AirflowClient) -> None:
    run_id = site.run_id()
    await client.trigger(site.dag_id, run_id, {})
    wanted = {(site.dag_id, run_id), (site.dag_id, site.run_id()), (site.other_dag_id, run_id)}
    assert set(await client.dag_runs(wanted)) == {(site.dag_id, run_id)}
    assert await client.dag_run(site.dag_id, "none") is None
    await site.until_finished(client, run_id)


async def test_a_run_that_ended_well_shows_its_times_tasks_results_and_log(
    site: Site, client: AirflowClient
) -> None:
    run_id = site.run_id()
    await client.trigger(site.dag_id, run_id, {})
    run = await site.until_finished(client, run_id)
    assert run.state == "success"
    assert run.queued_at is not None
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.queued_at <= run.started_at <= run.finished_at

    (task,) = await client.task_instances(site.dag_id, run_id)
    assert (task.task_id, task.state, task.try_number, task.map_index) == (site.task_id, "success", 1, -1)
    assert task.started_at is not None
    assert task.finished_at is not None

    assert await client.xcom(site.dag_id, run_id, site.task_id, "metrics") == {"val_accuracy": "0.981"}
    assert await client.xcom(site.dag_id, run_id, site.task_id, "nothing") is None
    log = await client.task_log(site.dag_id, run_id, site.task_id, 1)
    assert log is not None
    assert "hello from the training" in log
    assert await client.task_log(site.dag_id, run_id, site.task_id, 9) is None
    short = await client.task_log(site.dag_id, run_id, site.task_id, 1, lines=1)
    assert short == log[-1:]


async def test_a_failed_run_and_its_task_are_failed(site: Site, client: AirflowClient) -> None:
    run_id = site.run_id()
    await client.trigger(site.dag_id, run_id, {"fail": True})
    assert (await site.until_finished(client, run_id)).state == "failed"
    (task,) = await client.task_instances(site.dag_id, run_id)
    assert task.state == "failed"
    assert await client.task_instances(site.dag_id, "none") == ()


async def test_cancelling_ends_a_running_run_and_leaves_a_finished_one(
    site: Site, client: AirflowClient
) -> None:
    run_id = site.run_id()
    await client.trigger(site.dag_id, run_id, {"sleep": 30})
    await site.until_running(client, run_id)
    assert await client.cancel(site.dag_id, run_id) is True
    run = await client.dag_run(site.dag_id, run_id)
    assert run is not None
    assert run.state == "failed"
    assert run.finished_at is not None
    assert await client.cancel(site.dag_id, run_id) is False
    assert await client.cancel(site.dag_id, "none") is False

    ended = site.run_id()
    await client.trigger(site.dag_id, ended, {})
    await site.until_finished(client, ended)
    assert await client.cancel(site.dag_id, ended) is False
    after = await client.dag_run(site.dag_id, ended)
    assert after is not None
    assert after.state == "success"


async def test_a_running_run_is_deleted_only_after_it_was_cancelled(
    site: Site, client: AirflowClient
) -> None:
    run_id = site.run_id()
    await client.trigger(site.dag_id, run_id, {"sleep": 30})
    await site.until_running(client, run_id)
    with pytest.raises(NotReadyError) as caught:
        await client.delete_dag_run(site.dag_id, run_id)
    assert caught.value.reason == "RunActive"
    await client.cancel(site.dag_id, run_id)
    assert await client.delete_dag_run(site.dag_id, run_id) is True
    assert await client.delete_dag_run(site.dag_id, run_id) is False
    assert await client.dag_run(site.dag_id, run_id) is None


async def test_a_dag_is_paused_and_unpaused(site: Site, client: AirflowClient) -> None:
    assert await client.pause(site.other_dag_id) is True
    assert (await client.dags([site.other_dag_id]))[site.other_dag_id].paused
    assert await client.unpause(site.other_dag_id) is True
    assert not (await client.dags([site.other_dag_id]))[site.other_dag_id].paused
    assert await client.pause("mlp-test.none") is False
    assert await client.delete_dag("mlp-test.none") is False


async def test_the_poller_follows_a_run_from_its_dag_to_its_end(site: Site, client: AirflowClient) -> None:
    run_id = site.run_id()
    awaited = Awaited(
        dags={
            site.dag_id: AwaitedDag(site.dag_hash, site.path),
            "mlp-test.broken": AwaitedDag("9876543210", site.broken_path),
        },
        runs={(site.dag_id, run_id)},
    )
    changes: list[Change] = []
    poller = AirflowPoller(client, lambda: awaited, changes.append)
    assert await poller.poll() is None
    assert poller.view.reachable
    assert poller.view.dags[site.dag_id].hashes == {site.dag_hash}
    broken = poller.view.dags["mlp-test.broken"]
    assert broken.hashes == frozenset()
    assert broken.import_error is not None
    assert broken.import_error.line == site.broken_line
    assert poller.view.absent == {(site.dag_id, run_id)}

    await client.trigger(site.dag_id, run_id, {})
    poller.triggered(site.dag_id, run_id)
    assert await poller.poll() is None
    assert not poller.view.runs[site.dag_id, run_id].finished

    await site.until_finished(client, run_id)
    async with asyncio.timeout(WAIT_SECONDS):
        while not poller.view.runs[site.dag_id, run_id].finished:
            assert await poller.poll() is None
    run = poller.view.runs[site.dag_id, run_id]
    assert run.state == "success"
    assert run.tasks is not None
    assert [(task.task_id, task.state) for task in run.tasks] == [(site.task_id, "success")]
    assert (site.dag_id, run_id) in changes[-1].runs

"""What the client does when Airflow fails, is slow, or knows us no longer."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from mlpipeline_operator.airflow import AirflowClient, tokens
from mlpipeline_operator.errors import NotReadyError, SpecError, TransientError
from tests.support.fake_airflow import FakeAirflow

DAG = "default.mnist"


@pytest.fixture(autouse=True)
def dag(fake: FakeAirflow) -> None:
    fake.parse(DAG, "mnist/dag.py", ["mlpipelines.dev"])


async def test_one_token_serves_many_calls(fake: FakeAirflow, fake_client: AirflowClient) -> None:
    for _ in range(5):
        await fake_client.dags([DAG])
    assert fake.requests == {"POST auth/token": 1, "GET dags": 5}
    assert fake_client.requests == {"login": 1, "get_dags": 5}


async def test_calls_at_the_same_time_log_in_once(fake: FakeAirflow, fake_client: AirflowClient) -> None:
    await asyncio.gather(*(fake_client.dags([DAG]) for _ in range(8)))
    assert fake.requests["POST auth/token"] == 1


async def test_a_token_that_ended_is_renewed_unnoticed(fake: FakeAirflow, fake_client: AirflowClient) -> None:
    await fake_client.dags([DAG])
    fake.expire_tokens()
    assert list(await fake_client.dags([DAG])) == [DAG]
    assert await fake_client.trigger(DAG, "mnist-1.0", {}) is True
    assert fake.requests["POST auth/token"] == 2


async def test_a_token_is_renewed_before_it_ends(
    fake: FakeAirflow, fake_client: AirflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(tokens, "monotonic", lambda: now)
    fake.token_life = 3600.0
    await fake_client.dags([DAG])
    now += 3500
    await fake_client.dags([DAG])
    assert fake.requests["POST auth/token"] == 1
    now += 50
    await fake_client.dags([DAG])
    assert fake.requests["POST auth/token"] == 2
    assert fake.requests["GET dags"] == 3


async def test_a_token_that_a_new_key_voids_is_renewed_unnoticed(
    fake: FakeAirflow, fake_client: AirflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_FRESH", 0.0)
    await fake_client.dags([DAG])
    fake.new_secret()
    assert list(await fake_client.dags([DAG])) == [DAG]


async def test_a_user_who_may_not_is_told_so_without_logging_in_for_ever(
    fake: FakeAirflow, fake_client: AirflowClient
) -> None:
    fake.fail(403, "dags", times=float("inf"))
    with pytest.raises(NotReadyError, match="403") as caught:
        await fake_client.dags([DAG])
    assert caught.value.reason == "AirflowForbidden"
    assert fake.requests["POST auth/token"] <= 2


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_busy_airflow_is_a_transient_error(
    fake: FakeAirflow, fake_client: AirflowClient, status: int
) -> None:
    fake.fail(status, "dags", Retry_After="7")
    with pytest.raises(TransientError, match=str(status)) as caught:
        await fake_client.dags([DAG])
    assert caught.value.retry_after == 7
    assert list(await fake_client.dags([DAG])) == [DAG]


async def test_a_request_that_airflow_refuses_is_a_spec_error(
    fake: FakeAirflow, fake_client: AirflowClient
) -> None:
    fake.fail(422, "dags")
    with pytest.raises(SpecError, match="422"):
        await fake_client.dags([DAG])


async def test_an_answer_that_is_not_airflows_says_so(fake: FakeAirflow, fake_client: AirflowClient) -> None:
    fake.fail(200, "api/v2/dags")
    with pytest.raises(NotReadyError, match="not what Airflow 3") as caught:
        await fake_client.dags([DAG])
    assert caught.value.reason == "AirflowUnexpectedAnswer"


async def test_a_redirect_is_not_followed_with_the_token(
    fake: FakeAirflow, fake_client: AirflowClient
) -> None:
    async with FakeAirflow() as other:
        fake.fail(307, "dags", Location=f"{other.url}/api/v2/dags")
        with pytest.raises(NotReadyError, match="is the URL right") as caught:
            await fake_client.dags([DAG])
        assert caught.value.reason == "AirflowRedirects"
        assert other.requests == {}


async def test_no_connection_is_a_transient_error_and_mends_itself(
    fake: FakeAirflow, fake_client: AirflowClient
) -> None:
    await fake_client.dags([DAG])
    await fake.stop()
    with pytest.raises(TransientError, match="cannot be reached") as caught:
        await fake_client.dags([DAG])
    assert caught.value.reason == "AirflowUnreachable"
    await fake.start()
    assert list(await fake_client.dags([DAG])) == [DAG]


async def test_no_answer_in_time_is_a_transient_error(fake: FakeAirflow) -> None:
    client = AirflowClient(fake.url, fake.username, fake.password, timeout=0.2)
    fake.slow(30, times=float("inf"))
    with pytest.raises(TransientError, match="in time") as caught:
        await client.dags([DAG])
    assert caught.value.reason == "AirflowTimeout"
    await client.close()
    await fake.stop()


async def test_a_trigger_whose_answer_was_lost_starts_one_run(
    fake: FakeAirflow, fake_client: AirflowClient
) -> None:
    fake.lose_answer("POST", "dagRuns")
    with pytest.raises(TransientError):
        await fake_client.trigger(DAG, "mnist-1.0", {})
    assert await fake_client.trigger(DAG, "mnist-1.0", {}) is False
    assert list(fake.runs) == [(DAG, "mnist-1.0")]
    assert fake.requests["POST dags/{}/dagRuns"] == 2


async def test_a_dag_whose_file_is_broken_cannot_be_triggered_yet(
    fake: FakeAirflow, fake_client: AirflowClient
) -> None:
    fake.import_errors["mnist/dag.py"] = "SyntaxError: invalid syntax"
    with pytest.raises(NotReadyError) as caught:
        await fake_client.trigger(DAG, "mnist-1.0", {})
    assert caught.value.reason == "DagImportError"


async def test_a_state_that_only_a_newer_airflow_has_is_read_as_it_is(
    fake: FakeAirflow, fake_client: AirflowClient
) -> None:
    fake.start_run(DAG, "mnist-1.0", state="reticulating", run_type="prophesied")
    run = await fake_client.dag_run(DAG, "mnist-1.0")
    assert run is not None
    assert (run.state, run.run_type, run.finished) == ("reticulating", "prophesied", False)


async def test_long_lists_are_read_page_by_page(fake: FakeAirflow, fake_client: AirflowClient) -> None:
    for number in range(249):
        fake.parse(f"default.p{number}", f"p{number}/dag.py", ["mlpipelines.dev"])
    assert len(await fake_client.dags_tagged(["mlpipelines.dev"])) == 250
    assert fake.requests["GET dags"] == 3


async def test_many_runs_and_their_tasks_are_read_fifty_at_a_time(
    fake: FakeAirflow, fake_client: AirflowClient
) -> None:
    keys = [(f"default.p{number}", f"p{number}-1.{number:04}") for number in range(120)]
    for key in keys:
        fake.start_run(*key)
        fake.advance(*key, "success", tasks=dict.fromkeys(("train", "report", "check"), "success"))
    assert set(await fake_client.dag_runs(keys)) == set(keys)
    assert fake.requests["GET dags/{}/dagRuns"] == 3
    tasks = await fake_client.task_instances_of(keys)
    assert set(tasks) == set(keys)
    assert all([task.task_id for task in tasks[key]] == ["check", "report", "train"] for key in keys)
    # Three tasks of fifty runs are two pages, those of the last twenty are one.
    assert fake.requests["POST dags/{}/dagRuns/{}/taskInstances/list"] == 5


async def test_a_run_that_a_pattern_does_not_find_is_asked_for_by_itself(
    fake: FakeAirflow, fake_client: AirflowClient
) -> None:
    keys = {(DAG, "odd|id"), (DAG, "mnist-1.0")}
    for key in keys:
        fake.start_run(*key)
    assert set(await fake_client.dag_runs({*keys, (DAG, "none")})) == keys
    assert fake.requests["GET dags/{}/dagRuns"] == 1
    assert fake.requests["GET dags/{}/dagRuns/{}"] == 2


async def test_a_slow_airflow_holds_up_no_other(fake: FakeAirflow, fake_client: AirflowClient) -> None:
    fake.slow(600, "dags", times=float("inf"))
    waiting = [asyncio.create_task(fake_client.dags([DAG])) for _ in range(20)]
    async with FakeAirflow() as other:
        client = AirflowClient(other.url, other.username, other.password)
        assert await client.dags([DAG]) == {}
        await client.close()
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await fake.stop()


async def test_closing_tells_those_who_wait_and_cancels_nobody(fake: FakeAirflow) -> None:
    client = AirflowClient(fake.url, fake.username, fake.password, threads=1)
    await client.version()
    fake.slow(30, "dags", times=float("inf"))
    waiting = [asyncio.create_task(client.dags([DAG])) for _ in range(3)]
    await asyncio.sleep(0)
    await client.close()
    await fake.stop()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, TransientError)
    with pytest.raises(TransientError, match="closed"):
        await client.version()


async def test_the_end_of_a_long_log_is_kept(fake: FakeAirflow, fake_client: AirflowClient) -> None:
    fake.start_run(DAG, "mnist-1.0")
    lines = [f"epoch {number}" for number in range(5000)]
    fake.advance(DAG, "mnist-1.0", "running", tasks={"train": "running"}, log={"train": lines})
    assert await fake_client.task_log(DAG, "mnist-1.0", "train", 1, lines=3) == tuple(lines[-3:])


def test_airflows_client_is_imported_at_the_first_call_only() -> None:
    code = (
        "import sys; from mlpipeline_operator.airflow import AirflowClient; "
        "AirflowClient('http://127.0.0.1:1', 'a', 'b'); "
        "sys.exit(any(name.startswith('airflow_client') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})

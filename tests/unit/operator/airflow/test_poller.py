"""What the poller sees, what it tells, and how many requests it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from mlpipeline_operator.airflow import AirflowClient, AirflowPoller, Awaited, AwaitedDag, Change, RunKey
from mlpipeline_operator.errors import NotReadyError, TransientError
from tests.support.fake_airflow import FakeAirflow

DAG = "default.mnist"
PATH = "mnist/dag.py"
RUN = (DAG, "mnist-1.0")
TASKS = "POST dags/{}/dagRuns/{}/taskInstances/list"


def tags(dag_hash: str) -> list[str]:
    return ["mlpipelines.dev", f"mlpipelines.dev/dag-hash={dag_hash}"]


@dataclass
class Operator:
    """The other side of the poller: what it awaits, and what it was told."""

    dags: dict[str, AwaitedDag] = field(default_factory=dict)
    runs: set[RunKey] = field(default_factory=set)
    changes: list[Change] = field(default_factory=list)

    def awaiting(self) -> Awaited:
        return Awaited(dict(self.dags), set(self.runs))

    def told(self) -> Change:
        """The one change since the last call."""
        (change,) = self.changes
        self.changes.clear()
        return change


@pytest.fixture
def operator() -> Operator:
    return Operator(dags={DAG: AwaitedDag("aaaa", PATH)})


@pytest.fixture
def poller(fake_client: AirflowClient, operator: Operator) -> AirflowPoller:
    return AirflowPoller(
        fake_client,
        operator.awaiting,
        operator.changes.append,
        active_interval=0.01,
        idle_interval=600,
        resync_interval=600,
    )


async def polled(poller: AirflowPoller, fake: FakeAirflow) -> Mapping[str, int]:
    """Poll once, and return the requests that it took."""
    before = fake.requests.copy()
    assert await poller.poll() is None
    return fake.requests - before


async def test_the_first_poll_reads_everything_once(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    assert not poller.view.reachable
    assert await polled(poller, fake) == {
        "POST auth/token": 1,
        "GET dags": 1,
        "GET importErrors": 1,
        "GET dags/{}/dagRuns": 1,
        "GET monitor/health": 1,
    }
    assert poller.view.reachable
    assert poller.view.synced
    assert poller.view.health is not None
    assert poller.view.dags[DAG].hashes == {"aaaa"}
    assert operator.told() == Change(frozenset({DAG}), frozenset(), True)


async def test_a_poll_that_awaits_no_dag_is_one_request_and_tells_nothing_new(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    await poller.poll()
    operator.changes.clear()
    assert await polled(poller, fake) == {"GET dags/{}/dagRuns": 1}
    assert operator.changes == []


async def test_awaiting_fifty_dags_takes_three_requests_a_poll(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    operator.dags = {f"default.p{n}": AwaitedDag(f"{n:04}", f"p{n}/dag.py") for n in range(50)}
    await poller.poll()
    requests = {"GET dags": 1, "GET importErrors": 1, "GET dags/{}/dagRuns": 1}
    assert await polled(poller, fake) == requests
    operator.changes.clear()
    for n in range(50):
        fake.parse(f"default.p{n}", f"p{n}/dag.py", tags(f"{n:04}"))
    assert await polled(poller, fake) == requests
    assert operator.told().dags == set(operator.dags)
    assert await polled(poller, fake) == {"GET dags/{}/dagRuns": 1}


async def test_a_dag_is_told_when_airflow_has_parsed_the_new_text(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    await poller.poll()
    operator.changes.clear()
    operator.dags[DAG] = AwaitedDag("bbbb", PATH)
    await poller.poll()
    assert operator.changes == []
    assert poller.view.dags[DAG].hashes == {"aaaa"}
    fake.parse(DAG, PATH, tags("bbbb"))
    await poller.poll()
    assert operator.told().dags == {DAG}
    assert poller.view.dags[DAG].hashes == {"bbbb"}


async def test_the_import_error_of_a_dag_that_was_never_parsed_is_told_and_taken_back(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.fail_import(PATH, f'  File "/bundle/{PATH}", line 7, in <module>\nNameError: oops')
    await poller.poll()
    assert DAG in operator.told().dags
    error = poller.view.dags[DAG].import_error
    assert str(error) == f"{PATH}:7: NameError: oops"
    await poller.poll()
    assert operator.changes == [], "Airflow meets the same error again and again"
    fake.parse(DAG, PATH, tags("aaaa"))
    await poller.poll()
    assert operator.told().dags == {DAG}
    assert poller.view.dags[DAG].import_error is None
    assert poller.view.dags[DAG].hashes == {"aaaa"}


async def test_a_run_is_followed_and_comes_with_its_tasks_when_it_ends(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    operator.runs = {RUN}
    fake.start_run(*RUN)
    await poller.poll()
    assert operator.told().runs == {RUN}
    assert poller.view.runs[RUN].state == "queued"

    fake.advance(*RUN, "running", tasks={"train": "running"})
    assert await polled(poller, fake) == {"GET dags/{}/dagRuns": 1}
    assert operator.told().dag_ids == {DAG}
    assert poller.view.runs[RUN].tasks is None
    assert poller.view.runs[RUN].started_at is not None

    fake.advance(*RUN, "failed", tasks={"train": "failed"})
    assert await polled(poller, fake) == {"GET dags/{}/dagRuns": 1, TASKS: 1}
    assert operator.told().runs == {RUN}
    run = poller.view.runs[RUN]
    assert run.finished
    assert run.finished_at is not None
    assert run.tasks is not None
    assert [(task.task_id, task.state) for task in run.tasks] == [("train", "failed")]

    assert await polled(poller, fake) == {"GET dags/{}/dagRuns": 1}
    assert operator.changes == []


async def test_a_run_that_is_started_again_loses_its_tasks_and_gets_new_ones(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    operator.runs = {RUN}
    fake.start_run(*RUN)
    fake.advance(*RUN, "failed", tasks={"train": "failed"})
    await poller.poll()
    fake.advance(*RUN, "running", tasks={"train": "running"})
    await poller.poll()
    assert poller.view.runs[RUN].tasks is None
    fake.advance(*RUN, "success", tasks={"train": "success"})
    await poller.poll()
    tasks = poller.view.runs[RUN].tasks
    assert tasks is not None
    assert tasks[0].state == "success"


async def test_a_run_that_goes_on_is_not_shown_as_ended_by_a_poll_that_asked_before(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    operator.runs = {RUN}
    fake.start_run(*RUN)
    fake.advance(*RUN, "failed", tasks={"train": "failed"})
    await poller.poll()
    poller.restarted(*RUN)
    await poller.poll()
    assert RUN not in poller.view.runs, "the same end once more"
    fake.advance(*RUN, "queued", tasks={"train": None})
    await poller.poll()
    assert poller.view.runs[RUN].state == "queued"
    fake.advance(*RUN, "failed", tasks={"train": "failed"})
    await poller.poll()
    assert poller.view.runs[RUN].state == "failed", "another end counts"


async def test_a_run_that_is_being_deleted_is_not_shown_again(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.start_run(*RUN)
    await poller.poll()
    assert RUN in poller.view.runs
    poller.deleted(*RUN)
    await poller.poll()
    assert RUN not in poller.view.runs


async def test_a_hundred_runs_that_end_at_once_take_three_requests(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    operator.dags = {}
    operator.runs = {(f"default.p{n}", f"p{n}-1.{n:04}") for n in range(100)}
    for key in operator.runs:
        fake.start_run(*key)
    await poller.poll()
    operator.changes.clear()
    for key in operator.runs:
        fake.advance(*key, "success", tasks={"train": "success"})
    assert await polled(poller, fake) == {"GET dags/{}/dagRuns": 1, TASKS: 2}
    assert operator.told().runs == operator.runs


async def test_no_change_between_two_polls_is_missed(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    operator.runs = {RUN}
    fake.start_run(*RUN)
    for state in ("running", "queued", "running", "queued", "running"):
        fake.advance(*RUN, state)
        await poller.poll()
        assert poller.view.runs[RUN].state == state


async def test_a_run_that_did_not_change_for_long_is_found_by_its_id(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    operator.runs = {RUN}
    run = fake.start_run(*RUN)
    run.updated_at = run.updated_at.replace(year=2020)
    await poller.poll()
    assert poller.view.runs[RUN].state == "queued"
    assert await polled(poller, fake) == {
        "GET dags": 1,
        "GET importErrors": 1,
        "GET dags/{}/dagRuns": 1,
    }


async def test_an_awaited_run_that_airflow_does_not_have_is_absent_until_it_is_triggered(
    fake: FakeAirflow, fake_client: AirflowClient, poller: AirflowPoller, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    operator.runs = {RUN}
    await poller.poll()
    assert poller.view.absent == {RUN}
    assert operator.told().runs == {RUN}
    assert await polled(poller, fake) == {"GET dags/{}/dagRuns": 1}
    await fake_client.trigger(*RUN, {})
    poller.triggered(*RUN)
    assert poller.view.absent == set()
    await poller.poll()
    assert poller.view.runs[RUN].state == "queued"
    assert operator.told().runs == {RUN}


async def test_a_run_triggered_while_a_poll_is_under_way_is_not_called_absent(
    fake: FakeAirflow, fake_client: AirflowClient, poller: AirflowPoller, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    await poller.poll()
    operator.runs = {RUN}
    asked = asyncio.Event()

    def runs() -> Awaited:
        asked.set()
        return operator.awaiting()

    fake.slow(0.1, "dagRuns", times=2)
    under_way = AirflowPoller(fake_client, runs, operator.changes.append)
    task = asyncio.create_task(under_way.poll())
    await asked.wait()
    under_way.triggered(*RUN)
    assert await task is None
    assert under_way.view.absent == set()


async def test_a_run_that_was_deleted_in_airflow_is_absent_after_a_resync(
    fake: FakeAirflow, fake_client: AirflowClient, operator: Operator
) -> None:
    poller = AirflowPoller(fake_client, operator.awaiting, operator.changes.append, resync_interval=0)
    operator.runs = {RUN}
    fake.start_run(*RUN)
    await poller.poll()
    operator.changes.clear()
    del fake.runs[RUN]
    await poller.poll()
    assert operator.told().runs == {RUN}
    assert poller.view.absent == {RUN}
    assert RUN not in poller.view.runs


async def test_a_dag_whose_file_is_gone_leaves_the_view_at_a_resync(
    fake: FakeAirflow, fake_client: AirflowClient, operator: Operator
) -> None:
    poller = AirflowPoller(fake_client, operator.awaiting, operator.changes.append, resync_interval=0)
    fake.parse(DAG, PATH, tags("aaaa"))
    await poller.poll()
    operator.changes.clear()
    fake.remove_file(PATH)
    await poller.poll()
    assert operator.told().dags == {DAG}
    assert DAG not in poller.view.dags


async def test_runs_that_others_start_are_seen_and_foreign_dags_are_not(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    fake.parse("somebody.else", "else.py", [])
    await poller.poll()
    operator.changes.clear()
    scheduled = (DAG, "scheduled__2026-11-22T02:00:00+00:00")
    fake.start_run(*scheduled, run_type="scheduled", triggered_by="timetable")
    fake.start_run("somebody.else", "manual__1")
    await poller.poll()
    assert operator.told().runs == {scheduled}
    assert set(poller.view.runs) == {scheduled}
    assert poller.view.runs[scheduled].run.run_type == "scheduled"


async def test_a_dag_that_somebody_paused_is_told_while_a_run_of_it_waits(
    fake: FakeAirflow, fake_client: AirflowClient, operator: Operator
) -> None:
    poller = AirflowPoller(fake_client, operator.awaiting, operator.changes.append, idle_interval=0)
    fake.parse(DAG, PATH, tags("aaaa"))
    operator.runs = {RUN}
    fake.start_run(*RUN)
    await poller.poll()
    assert not poller.view.dags[DAG].paused
    fake.dags[DAG].paused = True
    await poller.poll()
    assert poller.view.dags[DAG].paused
    fake.advance(*RUN, "running")
    await poller.poll()
    assert "GET dags" not in await polled(poller, fake), "a run that has begun waits for nothing"


async def test_with_a_prefix_only_its_dags_and_runs_are_seen(
    fake: FakeAirflow, fake_client: AirflowClient, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    fake.parse("default2.mnist", PATH, tags("aaab"))
    fake.start_run(*RUN)
    fake.start_run("default2.mnist", "mnist-1.1")
    poller = AirflowPoller(fake_client, operator.awaiting, operator.changes.append, dag_id_prefix="default.")
    await poller.poll()
    assert set(poller.view.dags) == {DAG}
    assert set(poller.view.runs) == {RUN}


async def test_runs_that_nobody_awaits_are_forgotten_when_there_are_too_many(
    fake: FakeAirflow, fake_client: AirflowClient, operator: Operator
) -> None:
    poller = AirflowPoller(fake_client, operator.awaiting, operator.changes.append, max_runs=5)
    operator.runs = {RUN}
    fake.start_run(*RUN)
    for number in range(20):
        fake.start_run(DAG, f"manual__{number}")
    await poller.poll()
    assert len(poller.view.runs) == 21, "whoever is told of them must find them"
    operator.runs.add((DAG, "manual__0"))
    await poller.poll()
    assert {RUN, (DAG, "manual__0")} < poller.view.runs.keys()
    assert len(poller.view.runs) == 7


async def test_one_lost_answer_is_not_told_but_an_airflow_that_stays_away_is(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    await poller.poll()
    operator.changes.clear()
    await fake.stop()
    for _ in range(2):
        assert isinstance(await poller.poll(), TransientError)
        assert poller.view.reachable
    assert operator.changes == []
    await poller.poll()
    assert operator.told() == Change(airflow=True)
    assert not poller.view.reachable
    assert poller.view.error is not None
    assert poller.view.error.reason == "AirflowUnreachable"
    assert poller.view.dags[DAG].hashes == {"aaaa"}
    await poller.poll()
    assert operator.changes == []

    await fake.start()
    await poller.poll()
    assert operator.told() == Change(airflow=True)
    assert poller.view.reachable
    assert poller.view.error is None


async def test_an_airflow_that_was_never_there_is_told_at_once(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    await fake.stop()
    await poller.poll()
    assert operator.told() == Change(airflow=True)
    assert not poller.view.synced


async def test_what_was_read_before_a_failure_is_told(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    fake.fail(500, "dagRuns")
    assert isinstance(await poller.poll(), TransientError)
    assert operator.told().dags == {DAG}
    assert await poller.poll() is None


async def test_an_error_in_who_is_told_does_not_end_the_poller(
    fake: FakeAirflow, fake_client: AirflowClient, operator: Operator
) -> None:
    def fail(change: Change) -> None:
        raise RuntimeError("boom")

    poller = AirflowPoller(fake_client, operator.awaiting, fail)
    assert await poller.poll() is None
    assert await poller.poll() is None


async def test_an_unhealthy_scheduler_is_told(
    fake: FakeAirflow, fake_client: AirflowClient, operator: Operator
) -> None:
    poller = AirflowPoller(fake_client, operator.awaiting, operator.changes.append, idle_interval=0)
    await poller.poll()
    operator.changes.clear()
    fake.health["scheduler"] = "unhealthy"
    await poller.poll()
    assert operator.told() == Change(airflow=True)
    assert poller.view.health is not None
    assert not poller.view.health.healthy("scheduler")


@pytest.fixture
async def running(poller: AirflowPoller) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(poller.run())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(poller: AirflowPoller, polls: int) -> None:
    async with asyncio.timeout(30):
        while poller.polls < polls:
            await asyncio.sleep(0.005)


async def test_it_polls_on_while_a_run_is_unfinished_and_rests_when_nothing_is_awaited(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator, running: asyncio.Task[None]
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    operator.runs = {RUN}
    fake.start_run(*RUN)
    await until(poller, 10)
    fake.advance(*RUN, "success", tasks={"train": "success"})
    async with asyncio.timeout(30):
        while RUN not in poller.view.runs or not poller.view.runs[RUN].finished:
            await asyncio.sleep(0.005)
    rest = poller.polls
    await asyncio.sleep(0.1)
    assert poller.polls == rest


async def test_a_wake_polls_at_once_and_many_make_one_poll(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator, running: asyncio.Task[None]
) -> None:
    fake.parse(DAG, PATH, tags("aaaa"))
    await until(poller, 1)
    for _ in range(100):
        poller.wake()
    await until(poller, 2)
    await asyncio.sleep(0.1)
    assert poller.polls <= 3


async def test_a_broken_dag_is_not_polled_quickly_for_ever(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpipeline_operator.airflow.poller._PATIENCE", 5)
    fake.fail_import(PATH, "SyntaxError: invalid syntax")
    task = asyncio.create_task(poller.run())
    await until(poller, 5)
    await asyncio.sleep(0.5)
    assert poller.polls < 20
    operator.dags[DAG] = AwaitedDag("bbbb", PATH)
    poller.wake()
    before = poller.polls
    await until(poller, before + 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_cancelling_does_not_wait_for_an_answer(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.slow(600, times=float("inf"))
    task = asyncio.create_task(poller.run())
    await until(poller, 1)
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
    await fake.stop()


async def test_a_password_that_is_refused_ends_it(
    fake: FakeAirflow, poller: AirflowPoller, operator: Operator
) -> None:
    fake.password = "another"
    async with asyncio.timeout(30):
        with pytest.raises(NotReadyError) as caught:
            await poller.run()
    assert caught.value.reason == "AirflowUnauthorized"
    assert fake.requests["POST auth/token"] == 3

import json
from dataclasses import replace

import pytest
import yaml

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow import airflow_manifests
from mlpipeline_operator.build.airflow.config import settings
from mlpipeline_operator.values import AirflowValue
from tests.unit.operator.build.airflow.helpers import environment, of_kind, pods, worker


def test_the_users_settings_win_over_ours(value: AirflowValue) -> None:
    mine = replace(value, config={"core": {"load_examples": "True"}, "my.section": {"option": "x %(y)s"}})
    found = settings(mine)
    assert found["AIRFLOW__CORE__LOAD_EXAMPLES"] == "True"
    assert found["AIRFLOW__MY_SECTION__OPTION"] == "x %(y)s"
    assert settings(value)["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"


def test_all_settings_are_strings_as_a_config_map_wants_them(value: AirflowValue) -> None:
    assert all(isinstance(text, str) for text in settings(value).values())


def test_nothing_among_the_settings_is_secret(value: AirflowValue) -> None:
    words = ("PASSWORD", "FERNET", "SECRET", "SQL_ALCHEMY_CONN")
    assert [key for key in settings(value) if any(word in key for word in words)] == []


def test_every_airflow_container_reads_the_settings_and_the_database_does_not(value: AirflowValue) -> None:
    for name, spec in pods(value):
        for container in spec.get("initContainers", []) + spec["containers"]:
            sources = container.get("envFrom", [])
            expected = (
                [] if "postgresql" in name else [{"configMapRef": {"name": "airflow-orchestra-config"}}]
            )
            assert sources == expected, (name, container["name"])


def test_tasks_report_to_the_api_server_of_their_own_namespace(value: AirflowValue) -> None:
    url = settings(value)["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
    assert url == "http://airflow-orchestra-api-server.research.svc:8080/execution/"
    assert settings(value)["AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE"] == "research"


def test_the_bundle_looks_at_the_pointer_of_its_own_airflow(value: AirflowValue) -> None:
    [bundle] = json.loads(settings(value)["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert bundle["kwargs"] == {"pointer": names.bundle_pointer("orchestra"), "refresh_interval": 1}


def test_no_more_runs_than_the_cap_are_at_work_at_once(value: AirflowValue) -> None:
    assert settings(value)["AIRFLOW__CORE__PARALLELISM"] == "5"


@pytest.mark.parametrize(
    ("option", "at_least"),
    [
        ("AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT", 86400),
        ("AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT", 1800),
        ("AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME", 3600),
        # At the quickest one attempt each five seconds.
        ("AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS", 1800 // 5),
    ],
)
def test_a_quarter_of_an_hour_without_airflow_ends_no_training(
    value: AirflowValue, option: str, at_least: int
) -> None:
    assert int(settings(value)[option]) >= at_least


def test_a_training_that_ends_while_airflow_is_away_tells_so_for_as_long_as_its_heartbeats_are_awaited(
    value: AirflowValue,
) -> None:
    ours = settings(value)
    # Airflow's wait_random_exponential: from its least wait, 1 s, to the longest, all alike.
    wait = (1 + float(ours["AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX"])) / 2
    patience = int(ours["AIRFLOW__WORKERS__EXECUTION_API_RETRIES"]) * wait
    assert patience >= int(ours["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])


def test_the_pod_template_lies_where_the_scheduler_looks(value: AirflowValue) -> None:
    path = settings(value)["AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE"]
    folder, _, file = path.rpartition("/")
    files = of_kind(airflow_manifests(value), "ConfigMap")["airflow-orchestra-files"]
    assert yaml.safe_load(files["data"][file])["kind"] == "Pod"
    scheduler = dict(pods(value))["airflow-orchestra-scheduler"]
    mounts = {mount["mountPath"]: mount["name"] for mount in scheduler["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in scheduler["volumes"]}
    assert volumes[mounts[folder]]["configMap"]["name"] == "airflow-orchestra-files"


def test_a_worker_is_one_pod_that_runs_once_and_that_our_watch_sees(value: AirflowValue) -> None:
    pod = worker(value)
    assert pod["metadata"]["labels"][names.MANAGED_BY_LABEL] == names.MANAGED_BY
    assert pod["metadata"]["labels"][names.AIRFLOW_LABEL] == "orchestra"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["serviceAccountName"] == "airflow-orchestra-worker"
    [container] = pod["spec"]["containers"]
    assert container["name"] == "base"
    # The executor sets the arguments; any of ours would be lost.
    assert "args" not in container
    assert environment(container)["HOME"]["value"] == "/tmp"


def test_no_volume_of_the_worker_has_the_name_of_one_that_the_dag_brings(value: AirflowValue) -> None:
    assert "artifacts" not in {volume["name"] for volume in worker(value)["spec"]["volumes"]}


@pytest.mark.parametrize("script", ["health.py", "start.py"])
def test_the_scripts_that_containers_run_are_among_the_files(value: AirflowValue, script: str) -> None:
    files = of_kind(airflow_manifests(value), "ConfigMap")["airflow-orchestra-files"]
    compile(files["data"][script], script, "exec")
    container = dict(pods(value))["airflow-orchestra-triggerer"]["containers"][0]
    assert f"/opt/mlp/{script}" in [*container["command"], *container["startupProbe"]["exec"]["command"]]

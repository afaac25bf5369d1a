from dataclasses import replace

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow import airflow_manifests
from mlpipeline_operator.values import AirflowValue, ComponentSettings
from tests.unit.operator.build.airflow.helpers import deployment, environment, of_kind, pod_of


def config_hash(value: AirflowValue, component: str) -> str:
    meta = deployment(value, component)["spec"]["template"]["metadata"]
    found: str = meta["annotations"][names.CONFIG_HASH_ANNOTATION]
    return found


@pytest.mark.parametrize("component", names.COMPONENTS)
def test_a_deployment_selects_its_own_pods_and_no_others(value: AirflowValue, component: str) -> None:
    spec = deployment(value, component)["spec"]
    selector = spec["selector"]["matchLabels"].items()
    for other in names.COMPONENTS:
        labels = deployment(value, other)["spec"]["template"]["metadata"]["labels"].items()
        assert (selector <= labels) is (other == component)


def test_two_airflows_of_a_namespace_share_no_name_and_no_selector(value: AirflowValue) -> None:
    other = replace(value, owner=replace(value.owner, name="quartet", uid="uid-of-quartet"))
    ours = {(each["kind"], each["metadata"]["name"]) for each in airflow_manifests(value)}
    theirs = {(each["kind"], each["metadata"]["name"]) for each in airflow_manifests(other)}
    assert ours.isdisjoint(theirs)
    selector = deployment(value, "scheduler")["spec"]["selector"]["matchLabels"].items()
    assert not selector <= deployment(other, "scheduler")["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("component", names.COMPONENTS)
def test_a_change_of_the_settings_rolls_the_pods(value: AirflowValue, component: str) -> None:
    changed = replace(value, config={"core": {"default_timezone": "Europe/Vienna"}})
    assert config_hash(value, component) != config_hash(changed, component)


@pytest.mark.parametrize("component", names.COMPONENTS)
def test_what_touches_one_component_only_leaves_the_others_alone(value: AirflowValue, component: str) -> None:
    more = replace(value, components={**value.components, "triggerer": ComponentSettings(replicas=3)})
    assert config_hash(value, component) == config_hash(more, component)
    unchanged = deployment(value, component) == deployment(more, component)
    assert unchanged is (component != "triggerer")


def test_building_twice_gives_the_same(value: AirflowValue) -> None:
    assert airflow_manifests(value) == airflow_manifests(value)


def test_replicas_and_resources_are_the_users(value: AirflowValue) -> None:
    asked = {"limits": {"memory": "3Gi"}}
    own = replace(value, components={**value.components, "scheduler": ComponentSettings(2, asked)})
    scheduler = deployment(own, "scheduler")
    assert scheduler["spec"]["replicas"] == 2
    assert pod_of(scheduler)["containers"][0]["resources"] == asked


@pytest.mark.parametrize("component", names.COMPONENTS)
def test_without_resources_a_component_asks_for_some_and_has_no_cpu_limit(
    value: AirflowValue, component: str
) -> None:
    resources = pod_of(deployment(value, component))["containers"][0]["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert "cpu" not in resources.get("limits", {})


def migrating(value: AirflowValue) -> list[str]:
    pods = {component: pod_of(deployment(value, component)) for component in names.COMPONENTS}
    return [component for component, pod in pods.items() if "initContainers" in pod]


def test_one_pod_migrates_and_nothing_else_knows_the_administrators_password(value: AirflowValue) -> None:
    assert migrating(value) == ["triggerer"]
    [init] = pod_of(deployment(value, "triggerer"))["initContainers"]
    assert init["command"] == ["python", "-m", "mlpipeline_dags.setup"]
    assert {"MLP_ADMIN_USERNAME", "MLP_ADMIN_PASSWORD"} <= set(environment(init))
    for component in names.COMPONENTS:
        container = pod_of(deployment(value, component))["containers"][0]
        assert "MLP_ADMIN_PASSWORD" not in environment(container), component


def test_a_component_that_does_not_run_is_not_the_one_that_migrates(value: AirflowValue) -> None:
    without = {"triggerer": ComponentSettings(replicas=0)}
    assert migrating(replace(value, components={**value.components, **without})) == ["dag-processor"]


@pytest.mark.parametrize("component", names.COMPONENTS)
def test_a_component_is_started_by_the_script_that_waits_for_the_database(
    value: AirflowValue, component: str
) -> None:
    command = pod_of(deployment(value, component))["containers"][0]["command"]
    assert command == ["python", "/opt/mlp/start.py", component]


def test_a_new_scheduler_starts_when_the_old_one_is_gone(value: AirflowValue) -> None:
    assert deployment(value, "scheduler")["spec"]["strategy"] == {"type": "Recreate"}


def test_the_api_is_never_away_in_a_rollout(value: AirflowValue) -> None:
    strategy = deployment(value, "api-server")["spec"]["strategy"]
    assert strategy["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("component", names.COMPONENTS)
def test_a_component_is_given_a_quarter_of_an_hour_to_start_and_minutes_before_it_is_killed(
    value: AirflowValue, component: str
) -> None:
    container = pod_of(deployment(value, component))["containers"][0]
    start, live = container["startupProbe"], container["livenessProbe"]
    assert start["periodSeconds"] <= 2
    assert start["periodSeconds"] * start["failureThreshold"] == 900
    assert live["periodSeconds"] * live["failureThreshold"] >= 120


@pytest.mark.parametrize("component", ["dag-processor", "triggerer"])
def test_a_database_that_is_away_kills_no_component(value: AirflowValue, component: str) -> None:
    container = pod_of(deployment(value, component))["containers"][0]
    assert "--alive" in container["livenessProbe"]["exec"]["command"]
    assert "--alive" not in container["readinessProbe"]["exec"]["command"]


def test_the_api_server_is_ready_only_when_tasks_can_report_to_it(value: AirflowValue) -> None:
    container = pod_of(deployment(value, "api-server"))["containers"][0]
    assert container["startupProbe"]["httpGet"]["path"] == "/execution/health"


def test_the_service_reaches_the_api_servers_port(value: AirflowValue) -> None:
    service = of_kind(airflow_manifests(replace(value, service_type="NodePort")), "Service")[
        "airflow-orchestra-api-server"
    ]
    api = deployment(value, "api-server")
    assert service["spec"]["type"] == "NodePort"
    assert service["spec"]["selector"] == api["spec"]["selector"]["matchLabels"]
    [port] = service["spec"]["ports"]
    [exposed] = pod_of(api)["containers"][0]["ports"]
    assert port["targetPort"] == exposed["name"]
    assert exposed["containerPort"] == names.AIRFLOW_PORT

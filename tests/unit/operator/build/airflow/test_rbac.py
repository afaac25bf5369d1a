from mlpipeline_operator.build.airflow import airflow_manifests
from mlpipeline_operator.values import AirflowValue
from tests.unit.operator.build.airflow.helpers import of_kind, pods


def test_nobody_gets_more_than_is_listed_here(value: AirflowValue) -> None:
    granted = {
        name.removeprefix("airflow-orchestra-"): {
            (resource, verb)
            for rule in role["rules"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        for name, role in of_kind(airflow_manifests(value), "Role").items()
    }
    assert granted == {
        "api-server": {("pods", "get"), ("pods", "list"), ("pods/log", "get")},
        "scheduler": {("pods", verb) for verb in ("create", "delete", "get", "list", "patch", "watch")},
        "dag-processor": {("configmaps", "get")},
        "worker": {("configmaps", "get")},
        "launcher": {
            ("configmaps", "get"),
            *(("pods", verb) for verb in ("create", "delete", "get", "list", "patch")),
            ("pods/log", "get"),
        },
    }


def test_nothing_is_granted_outside_the_namespace(value: AirflowValue) -> None:
    for manifest in airflow_manifests(value):
        assert not manifest["kind"].startswith("Cluster")
        assert manifest["metadata"]["namespace"] == "research"


def test_a_binding_gives_a_role_to_the_account_of_the_same_name(value: AirflowValue) -> None:
    manifests = airflow_manifests(value)
    accounts, roles = of_kind(manifests, "ServiceAccount"), of_kind(manifests, "Role")
    bindings = of_kind(manifests, "RoleBinding")
    assert set(bindings) == set(roles)
    for name, binding in bindings.items():
        assert name in accounts
        assert binding["roleRef"]["name"] == name
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": "research"}]


def test_every_airflow_pod_has_its_own_account_and_a_token_only_if_it_has_a_role(value: AirflowValue) -> None:
    manifests = airflow_manifests(value)
    roles = of_kind(manifests, "Role")
    seen = set()
    for name, spec in pods(value):
        if "postgresql" in name:
            continue
        account = spec["serviceAccountName"]
        assert spec["automountServiceAccountToken"] is (account in roles), name
        seen.add(account)
    # The pod of a launcher is the worker's, with an account of its own that the DAG names.
    assert seen | {"airflow-orchestra-launcher"} == set(of_kind(manifests, "ServiceAccount"))

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow import airflow_manifests, airflow_secrets
from mlpipeline_operator.values import AirflowValue
from tests.unit.operator.build.airflow.helpers import Manifest, of_kind

OWNER = {
    "apiVersion": "mlpipelines.dev/v1alpha1",
    "kind": "Airflow",
    "name": "orchestra",
    "uid": "uid-of-orchestra",
    "controller": True,
    "blockOwnerDeletion": True,
}
ORDER = [
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "PersistentVolumeClaim",
    "Service",
    "StatefulSet",
    "Deployment",
]


def everything(value: AirflowValue) -> list[Manifest]:
    return airflow_secrets(value) + airflow_manifests(value)


def without_owner(manifests: list[Manifest]) -> set[str]:
    return {each["metadata"]["name"] for each in manifests if "ownerReferences" not in each["metadata"]}


def test_all_goes_with_the_airflow_when_nothing_is_to_be_retained(value: AirflowValue) -> None:
    for each in everything(value):
        assert each["metadata"]["ownerReferences"] == [OWNER], each["metadata"]["name"]
    server = of_kind(airflow_manifests(value), "StatefulSet")["airflow-orchestra-postgresql"]
    assert server["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"


def test_volumes_and_secrets_stay_together_when_they_are_to_be_retained(retained: AirflowValue) -> None:
    assert without_owner(everything(retained)) == {
        "airflow-orchestra-secrets",
        "airflow-orchestra-admin",
        "airflow-orchestra-database",
        "airflow-orchestra-artifacts",
    }
    server = of_kind(airflow_manifests(retained), "StatefulSet")["airflow-orchestra-postgresql"]
    assert server["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"


def test_everything_carries_the_labels_by_which_it_is_found(value: AirflowValue) -> None:
    expected = names.airflow_labels("orchestra").items()
    for each in everything(value):
        assert expected <= each["metadata"]["labels"].items(), each["metadata"]["name"]


def test_what_a_pod_needs_comes_before_the_pod(value: AirflowValue) -> None:
    ranks = [ORDER.index(each["kind"]) for each in airflow_manifests(value)]
    assert ranks == sorted(ranks)


def test_no_name_is_given_twice(value: AirflowValue) -> None:
    found = [(each["kind"], each["metadata"]["name"]) for each in everything(value)]
    assert len(found) == len(set(found))


def test_an_external_database_brings_no_postgresql(external: AirflowValue) -> None:
    manifests = airflow_manifests(external)
    assert of_kind(manifests, "StatefulSet") == {}
    assert set(of_kind(manifests, "Service")) == {"airflow-orchestra-api-server"}


def test_volumes_are_as_large_and_of_the_class_that_the_user_chose(value: AirflowValue) -> None:
    manifests = airflow_manifests(value)
    [artifacts] = of_kind(manifests, "PersistentVolumeClaim").values()
    [server] = of_kind(manifests, "StatefulSet").values()
    [data] = server["spec"]["volumeClaimTemplates"]
    assert artifacts["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "7Gi"}},
        "storageClassName": "shared",
    }
    assert data["spec"]["resources"]["requests"]["storage"] == "3Gi"
    assert data["spec"]["storageClassName"] == "fast"

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from mlpipeline_operator.api import crd
from mlpipeline_operator.validate import canonical_parameters, validate_airflow, validate_pipeline
from mlpipeline_operator.values import Images
from tools.cluster.paths import REPOSITORY
from tools.demo.kube import Kube, KubeError

IMAGES = Images(airflow="airflow:1", trainer="trainer:1", postgres="postgres:1")

LEAST = """
apiVersion: mlpipelines.dev/v1alpha1
kind: MLPipeline
metadata: {name: mnist}
spec:
  training: {dataset: mnist}
  parameters: {epochs: 3}
  objective: {metric: val_accuracy, goal: Maximize}
"""
FULL = """
apiVersion: mlpipelines.dev/v1alpha1
kind: MLPipeline
metadata: {name: churn}
spec:
  training:
    image: registry.example.com/team/churn:1.4
    imagePullPolicy: Never
    entrypoint: churn.train:main
    dataUri: gs://bucket/churn
    env:
      - {name: TOKEN, valueFrom: {secretKeyRef: {name: hub, key: token, optional: true}}}
      - {name: REGION, valueFrom: {configMapKeyRef: {name: settings, key: region}}}
      - {name: DEBUG, value: "1"}
      - {name: EMPTY}
    resources:
      requests: {cpu: 1, memory: 2Gi}
      limits: {cpu: "1.5", memory: 4Gi, nvidia.com/gpu: 1}
  parameters: {epochs: 3, lr: 0.001, shuffle: true, optimizer: adam, version: "1.0", tiny: 1.0e-8}
  objective: {metric: val_auc}
  airflow: {name: shared}
  runPolicy: {onChange: false, retries: 3}
"""
RUN = """
apiVersion: mlpipelines.dev/v1alpha1
kind: MLPipelineRun
metadata: {generateName: churn-}
spec:
  pipelineRef: {name: churn}
  parameters: {epochs: 1}
"""
AIRFLOW = """
apiVersion: mlpipelines.dev/v1alpha1
kind: Airflow
metadata: {name: shared}
spec:
  version: 3.3.2
  executor: KubernetesExecutor
  env: [{name: AIRFLOW_CONN_WAREHOUSE, valueFrom: {secretKeyRef: {name: warehouse, key: uri}}}]
  config: {core: {parallelism: 64}, scheduler: {enable_health_check: true}}
  service: {type: NodePort}
  database: {embedded: {storage: {size: 8Gi, storageClassName: fast}, resources: {limits: {memory: 1Gi}}}}
  artifacts: {size: 100Gi, storageClassName: nfs, accessModes: [ReadWriteMany]}
  apiServer: {replicas: 2, resources: {requests: {cpu: 500m}}}
  scheduler: {replicas: 2}
  dagProcessor: {}
  triggerer: {}
  maxActiveRuns: 4
  deletionPolicy: Delete
"""


def applied(kube: Kube, namespace: str, text: str) -> dict[str, Any]:
    """Apply a manifest as a user does, and return what the API server stored."""
    how = "create" if "generateName" in text else "apply"
    output = kube.run(how, f"--namespace={namespace}", "--filename=-", "--output=json", stdin=text)
    found: dict[str, Any] = json.loads(output)
    return found


def accepted(kube: Kube, *texts: str) -> list[dict[str, Any]]:
    """Return what the API server would store, by a dry run."""
    how = ["create", "--dry-run=server", "--filename=-", "--output=json"]
    return [json.loads(kube.run(*how, stdin=text)) for text in texts]


def test_the_crds_are_accepted_without_a_warning(api_server: Kube) -> None:
    # Under another group, so that the API server sees them for the first time.
    texts = [text for name, text in crd.files().items() if name != "kustomization.yaml"]
    others = "---\n".join(texts).replace("mlpipelines.dev", "other.example.com")
    api_server.run("create", "--dry-run=server", "--warnings-as-errors", "--filename=-", stdin=others)


def test_applying_the_crds_again_changes_nothing(api_server: Kube) -> None:
    folder = f"--kustomize={REPOSITORY / 'crds'}"
    names = [f"crd/{each.plural}.mlpipelines.dev" for each in crd.DEFINITIONS]
    before = [api_server.get(*name.split("/")) for name in names]
    api_server.run("apply", "--server-side", "--warnings-as-errors", folder)
    assert [api_server.get(*name.split("/")) for name in names] == before


def test_the_api_server_adds_nothing_but_a_conversion_to_the_crds(
    api_server: Kube,
) -> None:
    for definition in crd.DEFINITIONS:
        stored = api_server.get("crd", f"{definition.plural}.mlpipelines.dev")
        assert stored is not None, definition.kind
        wanted = crd.manifest(definition)["spec"]
        assert stored["spec"].pop("conversion") == {"strategy": "None"}
        assert stored["spec"] == wanted


@pytest.mark.parametrize("text", [LEAST, FULL, RUN, AIRFLOW], ids=["least", "full", "run", "airflow"])
def test_a_good_manifest_is_stored_as_it_was_written(text: str, api_server: Kube) -> None:
    (stored,) = accepted(api_server, text)
    assert stored["spec"] == yaml.safe_load(text)["spec"]


def test_an_airflow_needs_no_spec(api_server: Kube) -> None:
    text = "apiVersion: mlpipelines.dev/v1alpha1\nkind: Airflow\nmetadata: {name: default}\n"
    (stored,) = accepted(api_server, text)
    assert "spec" not in stored
    assert validate_airflow(stored, IMAGES).version == "3.3.2"


def test_parameters_reach_the_training_as_they_were_written(api_server: Kube) -> None:
    (stored,) = accepted(api_server, FULL)
    assert validate_pipeline(stored, IMAGES).parameters == {
        "epochs": "3",
        "lr": "0.001",
        "optimizer": "adam",
        "shuffle": "true",
        "tiny": "1e-08",
        "version": "1.0",
    }


def test_the_text_of_a_scalar_survives_the_api_server(api_server: Kube) -> None:
    # In JSON: whole numbers with and without a point, the ends of what fits, and what is no number.
    written = [
        "1",
        "1.0",
        "1e3",
        "1e20",
        "1e21",
        "-0.0",
        "0.1",
        "1e-7",
        "123456789012345678",
        "true",
        '"1.0"',
    ]
    parameters = ", ".join(f'"p{index}": {text}' for index, text in enumerate(written))
    body = {**yaml.safe_load(LEAST), "spec": {"training": {"dataset": "mnist"}, "parameters": {}}}
    text = json.dumps(body).replace('"parameters": {', f'"parameters": {{{parameters}')
    (stored,) = accepted(api_server, text)
    wanted = canonical_parameters(json.loads(f"{{{parameters}}}"))
    assert canonical_parameters(stored["spec"]["parameters"]) == wanted


def test_an_edit_of_a_runs_labels_is_no_change_of_its_spec(api_server: Kube, namespace: str) -> None:
    run = RUN.replace("generateName: churn-", "name: churn-1")
    applied(api_server, namespace, run)
    labelled = applied(
        api_server, namespace, run.replace("name: churn-1", "name: churn-1, labels: {team: a}")
    )
    assert labelled["metadata"]["labels"] == {"team": "a"}
    assert labelled["metadata"]["generation"] == 1


def test_kubectl_explain_reads_well(api_server: Kube) -> None:
    text = " ".join(api_server.run("explain", "mlpipeline.spec.training").split())
    assert "FIELD: training <Object>" in text
    assert "The workload: a TensorFlow/Keras training." in text
    assert (
        "entrypoint <string> What to run in `image`: `module:function`, or the path of a Python file." in text
    )
    assert "dataset <string> enum: mnist Run the built-in example on this data set" in text


@pytest.mark.parametrize("definition", crd.DEFINITIONS, ids=lambda each: each.kind)
def test_kubectl_explains_every_field(definition: Any, api_server: Kube) -> None:
    text = api_server.run("explain", definition.kind.lower(), "--recursive")
    assert "<no description>" not in text
    for part in ("spec", "status"):
        assert "<no description>" not in api_server.run("explain", f"{definition.kind.lower()}.{part}")


def test_kubectl_get_shows_the_columns_of_the_design(api_server: Kube, namespace: str) -> None:
    applied(api_server, namespace, LEAST)
    status = {
        "state": "Succeeded",
        "progress": "100%",
        "metric": "val_accuracy=0.9812",
        "airflow": "default",
        "message": "all steps succeeded",
        "lastRun": {"name": "mnist-1", "startedAt": "2026-01-01T00:00:00Z"},
        "model": {"uri": "pvc://airflow-default-artifacts/team/mnist/mnist-1/model"},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "InPlace",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    api_server.run(
        "patch",
        "mlp",
        "mnist",
        f"--namespace={namespace}",
        "--subresource=status",
        "--type=merge",
        f"--patch={json.dumps({'status': status})}",
    )
    head, row = api_server.run("get", "mlp", f"--namespace={namespace}").splitlines()
    assert head.split("  ")[0] == "NAME"
    assert head.split() == ["NAME", "READY", "STATUS", "PROGRESS", "METRIC", "LAST", "RUN", "SCHEDULE", "AGE"]
    assert row.split()[:5] == ["mnist", "True", "Succeeded", "100%", "val_accuracy=0.9812"]
    wide = api_server.run("get", "mlp", "--output=wide", f"--namespace={namespace}")
    assert "MODEL" in wide
    assert "pvc://airflow-default-artifacts/team/mnist/mnist-1/model" in wide
    assert "all steps succeeded" in wide


def test_a_category_lists_all_kinds(api_server: Kube, namespace: str) -> None:
    for text in (LEAST, RUN, AIRFLOW):
        applied(api_server, namespace, text)
    names = api_server.run("get", "mlops", f"--namespace={namespace}", "--output=name").split()
    kinds = {name.split("/")[0] for name in names}
    assert kinds == {"mlpipeline.mlpipelines.dev", "mlpipelinerun.mlpipelines.dev", "airflow.mlpipelines.dev"}


def test_the_status_cannot_be_set_with_the_spec(api_server: Kube, namespace: str) -> None:
    stored = applied(api_server, namespace, LEAST + "status: {state: Succeeded}\n")
    assert "status" not in stored


def test_a_state_that_is_not_in_the_list_is_refused(api_server: Kube, namespace: str) -> None:
    applied(api_server, namespace, LEAST)
    with pytest.raises(KubeError, match='Unsupported value: "Happy"'):
        api_server.run(
            "patch",
            "mlp",
            "mnist",
            f"--namespace={namespace}",
            "--subresource=status",
            "--type=merge",
            '--patch={"status": {"state": "Happy"}}',
        )


def test_two_appliers_of_conditions_keep_out_of_each_others_way(api_server: Kube, namespace: str) -> None:
    applied(api_server, namespace, LEAST)
    for manager, condition in (("one", "Ready"), ("two", "Promoted")):
        body = yaml.safe_load(LEAST)
        del body["spec"]
        body["status"] = {
            "conditions": [
                {
                    "type": condition,
                    "status": "True",
                    "reason": "Test",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ]
        }
        api_server.run(
            "apply",
            "--server-side",
            "--subresource=status",
            f"--field-manager={manager}",
            f"--namespace={namespace}",
            "--filename=-",
            stdin=json.dumps(body),
        )
    stored = api_server.get("mlp", "mnist", namespace)
    assert stored is not None
    assert {each["type"] for each in stored["status"]["conditions"]} == {"Ready", "Promoted"}


def test_an_edit_that_keeps_what_is_fixed_is_accepted(api_server: Kube, namespace: str) -> None:
    applied(api_server, namespace, AIRFLOW)
    body = yaml.safe_load(AIRFLOW)
    body["spec"]["artifacts"]["size"] = "200Gi"
    body["spec"]["scheduler"]["replicas"] = 3
    assert applied(api_server, namespace, json.dumps(body))["metadata"]["generation"] == 2


def test_writing_a_default_out_is_no_change(api_server: Kube, namespace: str) -> None:
    body = {**yaml.safe_load(AIRFLOW), "spec": {}}
    applied(api_server, namespace, json.dumps(body))
    body["spec"] = {
        "database": {"embedded": {"storage": {"size": "5Gi"}}},
        "artifacts": {"size": "10Gi", "accessModes": ["ReadWriteOnce"]},
    }
    assert applied(api_server, namespace, json.dumps(body))["metadata"]["generation"] == 2

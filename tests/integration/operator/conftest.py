"""The operator's own process against a real API server; Airflow and kubelet are played (see ``support``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import Audit
from tests.integration.operator.support.api import Api
from tests.integration.operator.support.process import SYSTEM_NAMESPACE, Operator
from tests.integration.operator.support.site import Site, wait_for
from tests.integration.operator.support.world import Airflow, World
from tools.cluster.paths import REPOSITORY
from tools.demo.kube import Kube

# Each test starts a process or two, and waits for what a control plane on a busy machine takes its time for.
_TIMEOUT = 400
_RIGHTS = ("Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_TIMEOUT))


@pytest.fixture(scope="session")
def api(api_server: Kube) -> Iterator[Api]:
    found = Api(api_server.kubeconfig)
    yield found
    found.close()


@pytest.fixture(scope="session")
def operator_kubeconfig(api_server: Kube, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig with the rights that the manifests give to the operator, and no others."""
    rendered = yaml.safe_load_all(api_server.run("kustomize", str(REPOSITORY / "manifests" / "base")))
    rights = [each for each in rendered if each["kind"] in _RIGHTS]
    api_server.apply(*rights)
    account = next(each["metadata"]["name"] for each in rights if each["kind"] == "ServiceAccount")
    token = api_server.run("create", "token", account, f"--namespace={SYSTEM_NAMESPACE}", "--duration=10h")
    path = tmp_path_factory.mktemp("operator") / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "operator",
                "contexts": [{"name": "operator", "context": {"cluster": "test", "user": "operator"}}],
                "clusters": [
                    {
                        "name": "test",
                        "cluster": {"server": api.server, "certificate-authority-data": api.ca_data},
                    }
                ],
                "users": [{"name": "operator", "user": {"token": token.strip()}}],
            }
        )
    )
    return path


@pytest.fixture
def start_operator(
    operator_kubeconfig: Path, api: Api, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Operator]]:
    """Start a replica: ``start_operator(airflow_url, "--flag", replica="two")``; ended after the test."""
    started: list[Operator] = []
    api.delete("Lease", SYSTEM_NAMESPACE, "mlpipeline-operator")

    def start(airflow_url: str, *flags: str, replica: str = "one", wait: bool = True) -> Operator:
        log = tmp_path / f"operator-{len(started) + 1}.log"
        operator = Operator(operator_kubeconfig, airflow_url, log, flags, replica)
        started.append(operator)
        if wait:
            wait_for(operator.is_ready, "the operator is ready")
        return operator

    yield start
    for operator in started:
        operator.stop()
    for operator in started:
        request.node.add_report_section("teardown", operator.log.name, operator.text()[-6000:])
        assert "Traceback" not in operator.text(), operator.text()


@pytest.fixture
def site(
    api: Api,
    namespace: str,
    audit: Callable[[str], Audit],
    start_operator: Callable[..., Operator],
) -> Iterator[Site]:
    """A namespace in which an operator can work; ``site.start()`` starts one."""
    with Airflow() as airflow, World(api, namespace, airflow) as world:

        def start(*flags: str, **options: object) -> Operator:
            return start_operator(airflow.url, *flags, **options)

        audits = [audit("mlpipeline-operator"), audit("kopf")]
        yield Site(api, namespace, airflow, world, audits, start)


@pytest.fixture
def running(site: Site) -> Site:
    """A namespace in which an operator works, its Airflow up, and nothing happens."""
    site.start()
    site.api.create(
        {
            "apiVersion": "mlpipelines.dev/v1alpha1",
            "kind": "Airflow",
            "metadata": {"name": "default", "namespace": site.namespace},
        }
    )
    site.wait_ready("Airflow", "default")
    site.settle()
    site.restart_audit()
    return site

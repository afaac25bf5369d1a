"""Code in a ConfigMap of the user's: what the operator makes of it, and when it looks at it."""

import json
import time

from mlpipeline_operator import names
from tests.integration.operator.support.api import Body
from tests.integration.operator.support.site import Site, wait_for
from tests.integration.operator.test_spec import stalled


def code(site: Site, text: str, name: str = "digits-code") -> Body:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": site.namespace},
        "data": {"train.py": text, "helpers.py": "X = 1\n"},
    }


def pipeline(site: Site, **spec: object) -> Body:
    return site.pipeline(training={"source": {"configMapRef": {"name": "digits-code"}}}, **spec)


def dag(site: Site) -> str:
    """The DAG that Airflow gets now."""
    pointer = site.get("ConfigMap", names.bundle_pointer("default"))
    manifest = json.loads(site.get("ConfigMap", pointer["data"]["version"])["data"]["manifest.json"])
    source = manifest["files"]["digits/dag.py"]
    return str(site.get("ConfigMap", source["configMap"])["data"][source["key"]])


def test_a_pipeline_whose_code_is_not_there_waits_for_it_and_then_runs(running: Site) -> None:
    running.api.apply(pipeline(running))
    condition = wait_for(lambda: stalled(running, "MLPipeline", "digits"), "it stalls")
    assert condition["reason"] == "ConfigMapNotFound"
    assert 'there is no ConfigMap "digits-code": create it' in condition["message"]
    running.settle()
    running.api.apply(code(running, "print('one')\n"))
    running.succeed(running.triggered())
    running.wait_state("MLPipeline", "digits", "Succeeded")
    assert "print('one')" in dag(running)
    assert "X = 1" in dag(running)


def test_a_change_of_the_code_is_a_run_and_anything_else_about_the_config_map_is_none(running: Site) -> None:
    running.api.apply(code(running, "print('one')\n"))
    running.api.apply(pipeline(running))
    running.succeed(running.triggered())
    running.wait_state("MLPipeline", "digits", "Succeeded")
    running.settle()

    running.restart_audit()
    note = {"metadata": {"annotations": {"somebody.example/touched": "1"}}}
    running.api.merge("ConfigMap", running.namespace, "digits-code", note)
    running.api.apply(code(running, "print('other')\n", "nobodys"))
    wait_for(lambda: running.reads()["get configmaps"], "it looks at the code")
    time.sleep(3)
    assert running.reads() == {"get configmaps": 1}
    assert running.writes() == {}

    running.api.apply(code(running, "print('two')\n"))
    running.succeed(running.triggered(2))
    running.wait_state("MLPipelineRun", "digits-2", "Succeeded")
    assert "print('two')" in dag(running)
    assert running.names("MLPipelineRun") == {"digits-1", "digits-2"}
    # Nothing of ours was written to the user's object.
    assert not running.get("ConfigMap", "digits-code")["metadata"].get("labels")


def test_code_that_is_deleted_is_told_and_the_dag_stays_until_it_is_back(running: Site) -> None:
    running.api.apply(code(running, "print('one')\n"))
    running.api.apply(pipeline(running))
    running.succeed(running.triggered())
    running.wait_state("MLPipeline", "digits", "Succeeded")
    running.api.delete("ConfigMap", running.namespace, "digits-code")
    wait_for(lambda: stalled(running, "MLPipeline", "digits"), "it stalls")
    running.settle()
    assert "print('one')" in dag(running)
    running.api.apply(code(running, "print('one')\n"))
    running.wait_ready("MLPipeline", "digits")
    running.settle()
    assert running.names("MLPipelineRun") == {"digits-1"}, "the same code as before"


def test_a_restart_reads_the_code_once_and_writes_nothing(site: Site) -> None:
    first = site.start()
    site.api.apply(code(site, "print('one')\n"))
    site.api.apply(pipeline(site))
    site.succeed(site.triggered())
    site.wait_state("MLPipeline", "digits", "Succeeded")
    site.settle()
    assert first.stop() == 0
    site.api.apply(code(site, "print('two')\n"))
    site.restart_audit()
    site.start()
    site.succeed(site.triggered(2))
    site.wait_state("MLPipelineRun", "digits-2", "Succeeded")
    assert site.reads()["get configmaps"] == 1


def test_a_users_dag_in_a_config_map_reaches_airflow_as_it_is(running: Site) -> None:
    running.world.parses = False
    text = 'from airflow.sdk import DAG\nwith DAG("nightly"):\n    ...\n'
    flows = code(running, text, "flows") | {"data": {"flow.py": text}}
    running.api.apply(flows)
    manifest = running.pipeline("my-etl", dag={"configMapRef": {"name": "flows"}})
    del manifest["spec"]["training"], manifest["spec"]["objective"]
    running.api.apply(manifest)

    def delivered() -> str:
        pointer = running.api.get("ConfigMap", running.namespace, names.bundle_pointer("default")) or {}
        version = running.api.get("ConfigMap", running.namespace, pointer.get("data", {}).get("version", "-"))
        files = json.loads((version or {}).get("data", {}).get("manifest.json", '{"files": {}}'))["files"]
        source = files.get("my_etl/flow.py")
        return str(running.get("ConfigMap", source["configMap"])["data"][source["key"]]) if source else ""

    assert wait_for(delivered, "it is delivered") == text
    running.api.apply(flows | {"data": {"flow.py": text + "# two\n"}})
    wait_for(lambda: delivered().endswith("# two\n"), "the change is delivered")

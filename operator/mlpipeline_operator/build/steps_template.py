"""What the DAG of a pipeline with ``steps`` has in place of a training; ``dag`` puts it into the DAG's file.

Of this file only what stands between the marks goes there: ``<pods>`` only where a step has an image of its
own, for what it imports takes a second.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from mlpipeline_operator.build.dag_template import (
    Task,
    as_shell,
    contract,
    executor_config,
    hand_over,
    out_of_memory,
    own_environment,
    run_parameters,
    stream,
)

# isort: split
# <steps>
# <pods>
import copy
import time

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

# </pods>
TERMINATION_LOG = Path("/dev/termination-log")
# $(params.NAME) and $(steps.NAME.outputs.KEY); $$( stands for $( itself, as Kubernetes has it.
REFERENCE = re.compile(r"\$?\$\(((?:params|steps)\.[^()]*)\)")
VARIABLE = re.compile(r"\$\$\(|\$\((\w+)\)")


def references(step: dict[str, Any], context: Any) -> dict[str, str]:
    """Return what a step's texts may refer to, by its name; a $( in it will not be expanded once more."""
    known = {f"params.{name}": value for name, value in run_parameters(context).items()}
    for other in step["reads"]:
        outputs = context["ti"].xcom_pull(task_ids=other, key="outputs") or {}
        known |= {f"steps.{other}.outputs.{key}": value for key, value in outputs.items()}
    return {name: value.replace("$(", "$$(") for name, value in known.items()}


def resolve(text: str, known: dict[str, str]) -> str:
    """Put in what a text refers to.

    Raises:
        AirflowFailException: There is no such output.
    """

    def value(match: re.Match[str]) -> str:
        if match[0].startswith("$$"):
            return match[0]
        if match[1] not in known:
            there = ", ".join(sorted(known)) or "nothing"
            raise AirflowFailException(f"there is no {match[1]} to put in; there is {there}")
        return known[match[1]]

    return REFERENCE.sub(value, text)


def expand(text: str, variables: dict[str, str]) -> str:
    """Put in variables as Kubernetes does it with a container's command: $(NAME)."""
    return VARIABLE.sub(lambda to: "$(" if to[0] == "$$(" else variables.get(to[1], to[0]), text)


def parse_result(message: str | None) -> dict[str, Any]:
    """Return the JSON object that a step has left as its container's termination message, if it did."""
    try:
        result = json.loads(message or "")
    except ValueError:
        return {}
    if not isinstance(result, dict):
        return {}
    outputs = result.get("outputs")
    texts = outputs.items() if isinstance(outputs, dict) else ()
    result["outputs"] = {key: value if isinstance(value, str) else json.dumps(value) for key, value in texts}
    return result


def finish(result: dict[str, Any], failure: dict[str, Any] | None, context: Any) -> None:
    """Hand over what a step has left; raise where it failed, in its own words or else in those given."""
    if failure:
        result = {"schema": 1, "state": "Failed", "failure": failure} | result
    hand_over(result, context)
    if failure:
        told = result["failure"]
        error = AirflowFailException if told.get("retryable") is False else RuntimeError
        raise error(f"{told.get('reason')}: {told.get('message')}")


def tell(failure: dict[str, Any]) -> dict[str, Any]:
    """Leave a failure as this pod's own termination message: by it the operator knows the cause."""
    if os.access(TERMINATION_LOG, os.W_OK):
        TERMINATION_LOG.write_text(json.dumps({"schema": 1, "state": "Failed", "failure": failure}))
    return failure


def run_command(step: dict[str, Any], **context: Any) -> None:
    """Run a step's command as a child process of this pod."""
    variables = own_environment()
    try:
        known = references(step, context)
        variables |= {name: expand(resolve(variables[name], known), {}) for name in step["resolved"]}
        variables |= contract(step["name"], Path(tempfile.mkdtemp(prefix="step-")), context, step["name"])
        command = [expand(resolve(word, known), variables) for word in step["command"]]
    except AirflowFailException as error:
        finish({}, tell({"reason": "MissingOutput", "message": str(error), "retryable": False}), context)
    variables["PATH"] = f"{step['path']}:{variables.get('PATH', os.defpath)}"
    Path(variables["MLP_ARTIFACTS_DIR"]).mkdir(parents=True, exist_ok=True)
    exit_code, last = stream(command, variables)
    result = parse_result(TERMINATION_LOG.read_text()) if TERMINATION_LOG.exists() else {}
    failure = None
    if exit_code:
        reason = "OOMKilled" if exit_code < 0 and out_of_memory() else "Error"
        failure = {
            "reason": reason,
            "message": last[-500:] or f"exit code {as_shell(exit_code)}",
            "exitCode": as_shell(exit_code),
        }
        if "failure" not in result:
            tell(failure)
    finish(result, failure, context)


# <pods>
class PodStep(KubernetesPodOperator):
    """A step in a pod of its own; its image need not know Airflow. The pod stays, for its log."""

    # A user's text is no Jinja template.
    template_fields = ()

    def __init__(self, *, step: dict[str, Any], **settings: Any) -> None:
        super().__init__(
            name=step["podName"],
            kubernetes_conn_id=None,
            in_cluster=True,
            on_finish_action="delete_active_pod",
            # A pod may wait this long for a node; the operator gives up earlier.
            startup_timeout_seconds=2 * 86400,
            startup_check_interval_seconds=1,
            log_events_on_startup=False,
            log_pod_spec_on_failure=False,
            container_name_log_prefix_enabled=False,
            # Where a step that failed left no message, the last lines of its log.
            termination_message_policy="FallbackToLogsOnError",
            **settings,
        )
        self.step = step

    def execute(self, context: Any) -> None:
        """Start the pod, wait for its end, hand over what it left."""
        failure = None
        try:
            self.pod_template_dict = self.filled_in(context)
        except AirflowFailException as error:
            finish({}, tell({"reason": "MissingOutput", "message": str(error), "retryable": False}), context)
        try:
            super().execute(context)
        except Exception as error:
            failure = self.failure(error)
        finish(parse_result(getattr(self.ended(), "message", None)), failure, context)

    def get_or_create_pod(self, pod_request_obj: Any, context: Any) -> Any:
        """Create the pod, or find the one of this attempt; wait while a quota is used up."""
        while True:
            try:
                return super().get_or_create_pod(pod_request_obj, context)
            except Exception as error:
                if getattr(error, "status", None) != 403 or "exceeded quota" not in str(error):
                    raise
                self.log.warning("waiting for room: %s", getattr(error, "body", error))
                time.sleep(10)

    def filled_in(self, context: Any) -> dict[str, Any]:
        """Return the pod, with what is known only now."""
        ti, known = context["ti"], references(self.step, context)
        variables = contract(self.step["name"], Path("/tmp/mlp"), context, self.step["name"])
        pod: dict[str, Any] = copy.deepcopy(self.step["pod"])
        pod["metadata"]["annotations"] = {
            "dag_id": ti.dag_id,
            "run_id": ti.run_id,
            "task_id": ti.task_id,
            "try_number": str(ti.try_number),
        }
        container = pod["spec"]["containers"][0]
        for words in ("command", "args"):
            container[words] = [resolve(word, known) for word in container[words]]
        for variable in container["env"]:
            if "value" in variable:
                variable["value"] = resolve(variable["value"], known)
        ours = [{"name": name, "value": value.replace("$(", "$$(")} for name, value in variables.items()]
        container["env"] = ours + container["env"]
        for mount in container["volumeMounts"]:
            if "subPath" in mount:
                mount["subPath"] = f"{mount['subPath']}/{variables['MLP_RUN_NAME']}"
                mount["mountPath"] = variables["MLP_ARTIFACTS_DIR"]
        return pod

    def ended(self) -> Any:
        """Return how the step's container ended, None where it did not."""
        status = getattr(self.remote_pod, "status", None)
        for container in getattr(status, "container_statuses", None) or ():
            if container.name == self.base_container_name:
                return container.state.terminated
        return None

    def failure(self, error: Exception) -> dict[str, Any]:
        """Return why the step failed, from how its container ended, else from what kept it from that."""
        ended = self.ended()
        if ended is not None:
            last = (ended.message or "").strip().rpartition("\n")[2]
            message = last[-500:] or f"exit code {ended.exit_code}"
            return {"reason": ended.reason or "Error", "message": message, "exitCode": ended.exit_code}
        # The operator's clean-up raises an error of its own over the first.
        first = error.__context__ or error
        words = str(getattr(first, "body", None) or first)
        reason = re.search(r"unable to start: (\w+)", words)
        return tell({"reason": reason[1] if reason else type(first).__name__, "message": words[-500:]})


# </pods>
def make_task(step: dict[str, Any]) -> Any:
    """Return the task of a step: in a pod of its own, or in the worker's."""
    settings: dict[str, Any] = {"task_id": step["name"], "executor_config": executor_config(step["worker"])}
    if "retries" in step:
        settings["retries"] = step["retries"]
    # <pods>
    if "pod" in step:
        return PodStep(step=step, **settings)
    # </pods>
    return Task(python_callable=run_command, op_kwargs={"step": step}, **settings)


# </steps>

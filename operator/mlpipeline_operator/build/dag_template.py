"""The DAG of MLPipeline default/mnist, written by its operator: edit the resource, not this file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, CronTriggerTimetable, Param
from airflow.sdk.exceptions import AirflowFailException

# <pipeline>
DAG_ID = "default.mnist"
DESCRIPTION = "Trains a model"
TAGS = ["mlpipelines.dev"]
SCHEDULE: str | None = None
TIMEZONE = "UTC"
MAX_ACTIVE_RUNS: int | None = None
DEADLINE_SECONDS: int | None = None
RETRIES = 0
RETRY_DELAY_SECONDS = 10
MAX_RETRY_DELAY_SECONDS = 3600
PARAMETERS = {"epochs": "3"}
ARTIFACTS = "/mlp/artifacts/default/mnist"
ARTIFACTS_URI = "pvc://artifacts/default/mnist"
STEPS: list[dict[str, Any]] = [
    {"name": "train", "after": [], "command": ["true"], "environment": {}, "worker": {}}
]
# </pipeline>

# As a shell tells that there is no such command.
NOT_FOUND = 127


# <training>
# Exit codes that another attempt would only repeat: wrong usage or parameters (2), a loss that is no number
# (5), no GPU (6), out of memory (7), no trainer at all.
FINAL_EXIT_CODES = {2, 5, 6, 7, NOT_FOUND}


def run_training(step: str, command: list[str], environment: dict[str, str], **context: Any) -> None:
    """Run the training as a child process: its output becomes the pod's log, its result goes to XCom."""
    scratch = Path(tempfile.mkdtemp(prefix="training-"))
    variables = own_environment() | contract(step, scratch, context) | environment
    code = next(each for each in STEPS if each["name"] == step).get("code") or {}
    for name, text in code.items():
        (scratch / "source").mkdir(exist_ok=True)
        (scratch / "source" / name).write_text(text)
        variables["MLP_SOURCE_DIR"] = str(scratch / "source")
    exit_code, _ = stream(command, variables)
    result = read_result(scratch / "result.json", exit_code)
    hand_over(result, context)
    # The last word holds, also where the process came to grief in taking itself down.
    if result["state"] != "Succeeded":
        failure = result.get("failure") or {"reason": "Error", "message": f"exit code {exit_code}"}
        error = AirflowFailException if exit_code in FINAL_EXIT_CODES else RuntimeError
        raise error(f"{failure['reason']}: {failure['message']}")


# </training>
def contract(step: str, scratch: Path, context: Any, folder: str = "") -> dict[str, str]:
    """Return what a step is told of its run; what it keeps goes into ``folder`` of the run's artifacts."""
    run = run_name(context["dag_run"].conf, context["run_id"])
    parameters = run_parameters(context)
    own = "/".join(filter(None, [run, folder]))
    # Of this run alone: one of the same name that was deleted may have left its own.
    checkpoints = f"checkpoints-{hashlib.sha256(context['run_id'].encode()).hexdigest()[:8]}"
    variables = {
        "MLP_PARAM_" + re.sub("[^A-Z0-9_]", "_", name.upper()): value for name, value in parameters.items()
    }
    return variables | {
        "MLP_PARAMETERS": json.dumps(parameters),
        "MLP_RUN_NAME": run,
        "MLP_STEP": step,
        "MLP_ATTEMPT": str(context["ti"].try_number),
        "MLP_ARTIFACTS_DIR": f"{ARTIFACTS}/{run}",
        "MLP_ARTIFACTS_URI": f"{ARTIFACTS_URI}/{run}",
        "MLP_DATA_DIR": str(scratch / "data"),
        "MLP_MODEL_DIR": f"{ARTIFACTS}/{own}/model",
        "MLP_MODEL_URI": f"{ARTIFACTS_URI}/{own}/model",
        "MLP_CHECKPOINT_DIR": f"{ARTIFACTS}/{own}/{checkpoints}",
        "MLP_RESULT_FILE": str(scratch / "result.json"),
    }


def run_parameters(context: Any) -> dict[str, str]:
    """Return the run's parameters: the pipeline's, and what the run has in their place."""
    return PARAMETERS | {name: str(value) for name, value in context["params"]["parameters"].items()}


def own_environment() -> dict[str, str]:
    """Return the pod's environment, less Airflow's own settings: they are none of a step's business."""
    return {name: value for name, value in os.environ.items() if "AIRFLOW_" not in name}


def hand_over(result: dict[str, Any], context: Any) -> None:
    """Leave a step's result where other tasks, and the operator, find it."""
    context["ti"].xcom_push(key="metrics", value=result.get("metrics") or {})
    if result.get("outputs"):
        context["ti"].xcom_push(key="outputs", value=result["outputs"])
    context["ti"].xcom_push(key="result", value=result)


def run_name(conf: dict[str, Any] | None, run_id: str) -> str:
    """Return the name of the run's folder: of its MLPipelineRun, or for others of Airflow's run."""
    named = ((conf or {}).get("run") or {}).get("name")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(named or run_id)).strip(".-")


def stream(command: list[str], variables: dict[str, str]) -> tuple[int, str]:
    """Run a command, with its output line by line in the pod's log and the task's.

    Returns:
        Its exit code, and the last line that it printed.
    """
    log = logging.getLogger("mlpipelines.training")
    # A worker of the operator's image hands over its pod's log; elsewhere there is the task's log alone.
    pod_log = os.environ.get("MLP_LOG_FD")
    last = ""
    try:
        child = subprocess.Popen(
            command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except FileNotFoundError:
        return NOT_FOUND, f"there is no {command[0]}"
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    threading.Thread(target=end_what_it_leaves, args=(child,), daemon=True).start()
    # The task's log has a thread of its own: it stalls while Airflow is away, and the training must not.
    file = int(pod_log) if pod_log else os.devnull
    with child, open(file, "wb", closefd=not pod_log) as output, ThreadPoolExecutor(1) as task_log:
        for line in child.stdout or ():
            output.write(line)
            output.flush()
            text = line.decode(errors="replace").rstrip()
            last = text or last
            task_log.submit(log.info, "%s", text)
    return child.wait(), last


def end_what_it_leaves(child: subprocess.Popen[bytes]) -> None:
    """End a command's background processes when it has ended: they hold its output open."""
    # It may have been reaped already: then its output has come to its end, too.
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        os.killpg(child.pid, signal.SIGKILL)


# <training>
def read_result(file: Path, exit_code: int) -> dict[str, Any]:
    """Return what the training left as its result; where it could leave none, why."""
    try:
        result: dict[str, Any] = json.loads(file.read_text())
        return result
    except (OSError, ValueError):
        message = f"exit code {exit_code}, and no result; see the log"
    failure: dict[str, Any] = {"reason": "Error", "message": message}
    if exit_code == NOT_FOUND:
        failure["message"] = f"the step's image has no {STEPS[0]['command'][0]}"
    if exit_code == -signal.SIGKILL:
        failure = {"reason": "Killed", "message": "the training was killed (SIGKILL)"}
        if out_of_memory():
            failure = {"reason": "OOMKilled", "message": "the training needs more memory than its limit"}
    failure |= {"exitCode": as_shell(exit_code)}
    result = {"schema": 1, "state": "Failed", "metrics": {}, "failure": failure}
    if os.access("/dev/termination-log", os.W_OK):
        Path("/dev/termination-log").write_text(json.dumps(result))
    return result


# </training>
def out_of_memory() -> bool:
    """Whether something in this pod was killed for its memory limit."""
    counters = [Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control")]
    text = "".join(path.read_text() for path in counters if path.exists())
    return re.search("^oom_kill [1-9]", text, re.MULTILINE) is not None


def as_shell(exit_code: int) -> int:
    """Return an exit code as a shell tells it: 137 for SIGKILL."""
    return exit_code if exit_code >= 0 else 128 - exit_code


def executor_config(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod for KubernetesExecutor; nothing inside it, where the import would cost a second."""
    if "AIRFLOW_IS_K8S_EXECUTOR_POD" in os.environ:
        return {}
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    return {"pod_override": PodGenerator.deserialize_model_dict(pod)}


class Task(PythonOperator):
    """Runs a command in this pod."""

    # A user's text is no Jinja template.
    template_fields = ()


# <steps/>
# <training>
def make_task(step: dict[str, Any]) -> Any:
    """Return the task of a step."""
    arguments = {"step": step["name"], "command": step["command"], "environment": step["environment"]}
    return Task(
        task_id=step["name"],
        python_callable=run_training,
        op_kwargs=arguments,
        executor_config=executor_config(step["worker"]),
    )


# </training>
with DAG(
    dag_id=DAG_ID,
    description=DESCRIPTION,
    tags=TAGS,
    # The newest tick before the DAG was there must not fire: with a start_date it would, and with Airflow's
    # default here, too, for a tenth of the interval.
    schedule=CronTriggerTimetable(SCHEDULE, timezone=TIMEZONE, run_immediately=timedelta(milliseconds=1))
    if SCHEDULE
    else None,
    catchup=False,
    # Airflow's own default is to create DAGs paused: no run would ever begin.
    is_paused_upon_creation=False,
    # Without a limit of the pipeline's own, Airflow's holds.
    **({"max_active_runs": MAX_ACTIVE_RUNS} if MAX_ACTIVE_RUNS else {}),
    dagrun_timeout=timedelta(seconds=DEADLINE_SECONDS) if DEADLINE_SECONDS else None,
    params={"parameters": Param(PARAMETERS, type="object", description="Parameters of the training")},
    default_args={
        "retries": RETRIES,
        "retry_delay": timedelta(seconds=RETRY_DELAY_SECONDS),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(seconds=MAX_RETRY_DELAY_SECONDS),
    },
):
    tasks: dict[str, Any] = {}
    for each in STEPS:
        tasks[each["name"]] = make_task(each)
        for before in each["after"]:
            tasks[before] >> tasks[each["name"]]

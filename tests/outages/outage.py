"""One training, and one part of its Airflow that goes away meanwhile and stays away for minutes."""

from __future__ import annotations

import secrets
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from threading import Semaphore
from typing import Any

from tests.e2e.patient import component_selector, epochs_through, patient, restarts, step_pods
from tests.e2e.support import PIPELINE_LABEL, conditions, state, until, wait_for_run
from tools.demo.kube import Kube, KubeError, Object

NAME = "patient"
RUN = f"{NAME}-1"
EPOCH_SECONDS = 10
SAMPLE_SECONDS = 20
_QUOTA = "nothing-comes-back"


@dataclass(frozen=True)
class Sample:
    """What was to be seen at one time of the outage."""

    seconds: float
    run: str
    airflow: Object
    pipeline: Object
    step_pods: frozenset[str]
    component_pods: int


@dataclass
class Report:
    """How a training fared.

    Attributes:
        component: The part of Airflow that was away.
        wanted_epochs: How many the training has.
        minutes: For how long the part was kept away.
        pod: The step's pod before it went.
        epochs_before: The epochs that were through when the part had gone.
        epochs_meanwhile: The epochs that were through when it was about to come back.
        epochs: The epochs in the logs of all the step's pods, after the run's end.
        samples: What was seen meanwhile.
        pods_after: The step's pods, after the run's end.
        run: The run, after its end.
    """

    component: str
    wanted_epochs: int
    minutes: float
    pod: Object = field(default_factory=dict)
    epochs_before: list[int] = field(default_factory=list)
    epochs_meanwhile: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    pods_after: list[Object] = field(default_factory=list)
    run: Object = field(default_factory=dict)


class Outage:
    """A namespace with its own Airflow, and what is done to it."""

    def __init__(
        self,
        kube: Kube,
        component: str,
        minutes: float,
        training_minutes: float,
        figures: MutableMapping[str, float],
    ) -> None:
        """Nothing is done yet."""
        self.namespace = f"outage-{component}-{secrets.token_hex(3)}"
        self.component = component
        self._kube = kube
        self._minutes = minutes
        self._epochs = round(training_minutes * 60 / EPOCH_SECONDS)
        self._figures = figures

    def run(self, starting: Semaphore) -> Report:
        """Do it all, from the first apply to the run's end."""
        report = Report(self.component, self._epochs, self._minutes)
        try:
            with starting:
                self._start()
            (report.pod,) = step_pods(self._kube, self.namespace, NAME)
            self._take_away()
            report.epochs_before = self._through()
            self._watch(report)
            report.epochs_meanwhile = self._through()
            self._bring_back()
            training_left = (self._epochs - len(report.epochs_meanwhile)) * EPOCH_SECONDS * 2
            report.run = wait_for_run(self._kube, self.namespace, RUN, seconds=training_left + 900)
            report.epochs = self._through()
            report.pods_after = step_pods(self._kube, self.namespace, NAME)
        except (AssertionError, KubeError) as error:
            error.add_note(self._words())
            raise
        meanwhile = len(report.epochs_meanwhile) - len(report.epochs_before)
        self._tell("epochs meanwhile", meanwhile)
        return report

    def _start(self) -> None:
        kube, namespace = self._kube, self.namespace
        kube.run("create", "namespace", namespace)
        kube.run("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        kube.apply(_small_airflow(), patient(NAME, self._epochs, EPOCH_SECONDS), namespace=namespace)
        until(
            "two epochs are through", lambda: epochs_through(kube, namespace, NAME)[1:], seconds=1500, every=5
        )
        until("it runs", lambda: state(kube.get("mlpipelinerun", RUN, namespace)) == "Running", seconds=60)

    def _through(self) -> list[int]:
        def look() -> list[int]:
            return epochs_through(self._kube, self.namespace, NAME)

        return until("its log can be read", look, seconds=120)

    def _take_away(self) -> None:
        """Delete the part's pod, where no other can be made.

        The operator would put a Deployment's replicas back, as it should. So a quota allows no new pod in the
        namespace, what is there stays: the part's controller is refused as often as it tries.
        """
        mine = [pod["metadata"]["name"] for pod in self._component_pods()]
        assert len(mine) == 1, mine
        hard = {"pods": "0"}
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": _QUOTA},
            "spec": {"hard": hard},
        }
        self._kube.apply(quota, namespace=self.namespace)

        def counts() -> bool:
            found = self._kube.get("resourcequota", _QUOTA, self.namespace) or {}
            return (found.get("status") or {}).get("hard") == hard

        until("the quota counts", counts, seconds=120)
        self._kube.delete("pod", mine[0], self.namespace, wait=180)

    def _bring_back(self) -> None:
        """Take the quota away, and wait until the part is up again.

        Its controller tries again by itself, though after up to 16 minutes: it waits twice as long after
        each refusal. A change of what it looks after, an annotation will do, makes it look at once.
        """
        started = time.monotonic()
        kube, namespace = self._kube, self.namespace
        kube.delete("resourcequota", _QUOTA, namespace, wait=60)
        selector = component_selector(self.component)

        def woken() -> bool:
            note = f"outages/woken={time.monotonic():.0f}"
            how = [f"--selector={selector}", f"--namespace={namespace}", "--overwrite"]
            kube.run("annotate", "replicasets,statefulsets", note, *how)
            return bool(self._component_pods())

        until(f"{self.component} has a pod again", woken, seconds=300, every=5)
        until(f"{self.component} is up again", self._is_up, seconds=900, every=2)
        self._tell("s until it was up again", time.monotonic() - started)

    def _component_pods(self) -> list[Object]:
        return self._kube.list("pods", self.namespace, component_selector(self.component))

    def _is_up(self) -> bool:
        pods = [conditions(pod).get("Ready") for pod in self._component_pods()]
        return pods == ["True"]

    def _watch(self, report: Report) -> None:
        """Look, until the time is over."""
        began = time.monotonic()
        while (seconds := time.monotonic() - began) < self._minutes * 60:
            try:
                report.samples.append(self._sample(seconds))
            except KubeError as error:
                # One look of many; the API server may be busy with the other namespaces.
                print(f"{self.namespace}: {error}")
            time.sleep(SAMPLE_SECONDS)

    def _sample(self, seconds: float) -> Sample:
        ours = self._kube.list("mlpipelines,mlpipelineruns,airflows", self.namespace)
        kinds = {each["kind"]: each for each in ours}
        pods = self._kube.list("pods", self.namespace)
        component = "app.kubernetes.io/component"
        return Sample(
            seconds=seconds,
            run=state(kinds["MLPipelineRun"]),
            airflow=kinds["Airflow"]["status"],
            pipeline=kinds["MLPipeline"]["status"],
            step_pods=frozenset(each["metadata"]["uid"] for each in pods if _label(each, PIPELINE_LABEL)),
            component_pods=sum(_label(each, component) == self.component for each in pods),
        )

    def _tell(self, what: str, value: float) -> None:
        self._figures[f"{self.component} away for {self._minutes:g} min: {what}"] = value

    def _words(self) -> str:
        """What may tell why it went wrong; the namespace goes with the tests."""
        told = [self.namespace]
        looks = [
            ["get", "pods,mlpipelineruns,mlpipelines,airflows"],
            ["logs", f"-l{PIPELINE_LABEL}={NAME}", "--container=base", "--tail=60"],
            ["logs", f"-l{component_selector('scheduler')}", "--tail=60"],
            ["get", "events", "--sort-by=.lastTimestamp"],
        ]
        for look in looks:
            try:
                told.append(self._kube.run(*look, f"--namespace={self.namespace}"))
            except KubeError as error:
                told.append(str(error))
        return "\n".join(told)


def _small_airflow() -> Object:
    """One of four that must find room on a node of two cores; at rest it needs less than it requests."""
    small = {"resources": {"requests": {"cpu": "10m", "memory": "256Mi"}}}
    parts = ("apiServer", "scheduler", "dagProcessor", "triggerer")
    return {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "Airflow",
        "metadata": {"name": "default"},
        "spec": {"database": {"embedded": small}, **dict.fromkeys(parts, small)},
    }


def restarted(pods: list[Object]) -> int:
    """Return how often containers of the pods were started anew."""
    return sum(restarts(pod) for pod in pods)


def _label(body: Object, name: str) -> str | None:
    labels: dict[str, Any] = body["metadata"].get("labels") or {}
    return labels.get(name)

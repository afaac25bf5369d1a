"""One run, from settings to result: data, training, model; whatever happens, a last word and an exit code."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import checkpoints, failure, fit_hook, hardware, packages, params, presets, signals, source, storage
from . import context as context_module
from . import entrypoint as entrypoint_module
from .context import Context
from .entrypoint import Entrypoint
from .errors import ExitCode, ModelError, Terminated, UsageError
from .log import say
from .reporter import FileReporter, Recorder, Snapshot
from .result import (
    Failure,
    Model,
    Result,
    left_outputs,
    measure_usage,
    write_atomically,
    write_termination_message,
)
from .settings import Settings

MODEL_FILE = "model.keras"
_MODELS_BEFORE = ".mlp-models-before.json"


@dataclass(frozen=True)
class Work:
    """What to run: a preset with its parameters' values, or the user's entrypoint."""

    preset: presets.Preset | None = None
    values: dict[str, Any] | None = None
    entrypoint: Entrypoint | None = None


def choose(settings: Settings, preset: str | None = None, args: Sequence[str] | None = None) -> Work:
    """Decides what to run, and checks what can be checked before anything is loaded.

    `preset` goes before `settings.entrypoint`, and that before `settings.dataset`.

    Raises:
        UsageError: Nothing to run, or an unknown preset, data set, parameter or entrypoint.
    """
    _check(settings, preset)
    name = preset or (None if settings.entrypoint else settings.dataset)
    if name:
        chosen = presets.get(name)
        return Work(preset=chosen, values=params.resolve(chosen.specs, settings.parameters))
    if settings.entrypoint:
        return Work(entrypoint=entrypoint_module.parse(settings.entrypoint, args))
    raise UsageError(
        "nothing to run: give --entrypoint (MLP_ENTRYPOINT) or --preset (MLP_DATASET);"
        f" presets: {', '.join(presets.PRESETS)}"
    )


def _check(settings: Settings, preset: str | None) -> None:
    if settings.dataset:
        presets.get(settings.dataset, "dataset")
    if settings.dataset and settings.data_uri and settings.entrypoint:
        raise UsageError("MLP_DATASET and MLP_DATA_URI both say where the data is; give one")
    if settings.source is not None and (preset or not settings.entrypoint):
        raise UsageError(
            "MLP_SOURCE_DIR and MLP_GIT_URL bring code of one's own: say which by MLP_ENTRYPOINT"
        )


class Session:
    """The last word of a run: said once, to result file and termination log, by whoever comes first."""

    def __init__(self, settings: Settings) -> None:
        """Removes an earlier run's result; raises `UsageError` if the result file cannot be written."""
        self.settings = settings
        self._started = time.monotonic()
        self._started_at = _now()
        self._lock = threading.Lock()
        self._code: ExitCode | None = None
        self.commit: str | None = None
        self.recorder = Recorder(
            settings.objective, settings.goal, state_file=settings.checkpoint_dir / ".mlp-history.json"
        )
        try:
            self.recorder.reporters.append(FileReporter(settings.result_file, self.result))
        except OSError as error:
            raise UsageError(f"the result file {settings.result_file} cannot be written: {error}") from error

    def result(self, snapshot: Snapshot) -> Result:
        """The result as it stands: state `Running`."""
        settings = self.settings
        return Result(
            "Running",
            metrics=snapshot.metrics,
            best_metrics=snapshot.best_metrics,
            history=snapshot.history,
            epochs=snapshot.epochs,
            resumed_from=snapshot.resumed_from,
            warnings=snapshot.warnings,
            usage=measure_usage(self._started),
            run=settings.run_name,
            step=settings.step,
            attempt=settings.attempt,
            commit=self.commit,
            started_at=self._started_at,
        )

    def finish(self, model: Model | None = None, failed: Failure | None = None) -> ExitCode:
        """Says the last word, unless it was said; returns the exit code that goes with what was said."""
        with self._lock:
            if self._code is None:
                state = "Failed" if failed else "Succeeded"
                result = replace(
                    self.result(self.recorder.snapshot()),
                    state=state,
                    model=model,
                    failure=failed,
                    finished_at=_now(),
                )
                self.recorder.finish(result)
                self._write_termination_message(result)
                self._code = ExitCode(failed.exit_code) if failed else ExitCode.OK
                say(f"{state}: {_summary(result)}")
            return self._code

    def say_terminated(self, user_paths: Sequence[Path] = ()) -> None:
        """The last word on SIGTERM; safe to call from any thread."""
        self.finish(failed=failure.from_exception(Terminated(), user_paths))

    def _write_termination_message(self, result: Result) -> None:
        path = self.settings.termination_log
        if path is None:
            return
        try:
            write_termination_message(path, replace(result, outputs=left_outputs(path)))
        except OSError as error:
            say(f"warning: the termination message could not be written: {error}")


def run(settings: Settings, preset: str | None = None, args: Sequence[str] | None = None) -> ExitCode:
    """Runs what `choose` says to its end; raises only `UsageError`, where no result can be written."""
    session = Session(settings)
    user_paths: list[Path] = []
    made: list[Path] = []
    try:
        with signals.on_sigterm(lambda: session.say_terminated(user_paths)):
            try:
                work = _prepare(session, preset, args)
                user_paths += work.entrypoint.user_paths() if work.entrypoint else []
                model, kept = _train(settings, work, session.recorder, made)
                code = session.finish(model=model)
                if code is ExitCode.OK:
                    # Only now: of a run that did not end well another attempt needs it.
                    _forget(settings, session.recorder, kept)
                return code
            except BaseException as error:
                failure.print_traceback(error, user_paths)
                return session.finish(failed=failure.from_exception(error, user_paths))
            finally:
                for folder in made:
                    _remove_if_empty(folder)
                context_module.activate(None)
    except Terminated:
        # It came while the last word on something else was said; whichever was first holds.
        return session.finish(failed=failure.from_exception(Terminated(), user_paths))


def _prepare(session: Session, preset: str | None, args: Sequence[str] | None) -> Work:
    """Fetches the code, decides what to run, installs what it needs; the working directory is the code's."""
    settings = session.settings
    if settings.source is not None:
        # What does not depend on the code is refused before anything is fetched.
        _check(settings, preset)
        session.commit = source.fetch(settings.source, settings.checkpoint_dir, again=settings.attempt > 1)
    work = choose(settings, preset, args)
    packages.install(settings.requirements)
    return work


def refuse(settings: Settings, error: UsageError) -> ExitCode:
    """Says the last word of a run that never began."""
    return Session(settings).finish(failed=failure.from_exception(error))


def _train(
    settings: Settings, work: Work, recorder: Recorder, made: list[Path]
) -> tuple[Model | None, checkpoints.Checkpoints]:
    """Adds to `made` the folders that were not there before."""
    hardware.prepare_environment(os.environ, settings.expect_gpu)
    made += _make_folders(settings)
    context = context_module.make(settings, recorder, _data_dir(settings, work))
    _export(settings, context)
    before = _models_before(settings)
    if settings.expect_gpu:
        hardware.require_gpu()
    say("loading TensorFlow")
    context_module.activate(context)
    kept = checkpoints.Checkpoints(settings.checkpoint_dir, _fingerprint(settings, work), recorder)
    with fit_hook.installed(recorder, kept if settings.checkpoints else None):
        if work.preset:
            returned = work.preset.train(context, work.values or {})
        else:
            assert work.entrypoint
            returned = entrypoint_module.run(work.entrypoint, context)
    _save_returned(settings, recorder, returned)
    model = _place_model(settings, before)
    if model is None:
        recorder.warn("no model was saved: return it, or save it below MLP_MODEL_DIR")
    return model, kept


def _models_before(settings: Settings) -> dict[Path, tuple[int, int]]:
    """What the model folder held before the run: what an earlier attempt saved there is the run's own."""
    kept = settings.checkpoint_dir / _MODELS_BEFORE
    if settings.attempt > 1 and kept.is_file():
        for left in settings.model_dir.glob(f".*.{MODEL_FILE}"):
            left.unlink()
        known: dict[str, list[int]] = json.loads(kept.read_text())
        return {settings.model_dir / name: (changed, size) for name, (changed, size) in known.items()}
    found = storage.snapshot(settings.model_dir)
    told = {str(path.relative_to(settings.model_dir)): state for path, state in found.items()}
    write_atomically(kept, json.dumps(told).encode())
    return found


def _forget(settings: Settings, recorder: Recorder, kept: checkpoints.Checkpoints) -> None:
    """Removes what only another attempt would have needed."""
    recorder.forget()
    kept.clear()
    source.forget(settings.checkpoint_dir)
    (settings.checkpoint_dir / _MODELS_BEFORE).unlink(missing_ok=True)


def _fingerprint(settings: Settings, work: Work) -> str:
    """Of code and parameters: what an attempt shares with one whose checkpoints it goes on from."""
    entrypoint = work.entrypoint
    return checkpoints.fingerprint(
        {
            "preset": work.preset.name if work.preset else None,
            "parameters": dict(settings.parameters.items()),
            "entrypoint": settings.entrypoint,
            "args": list(entrypoint.args or ()) if entrypoint else [],
            "code": entrypoint.digest() if entrypoint else None,
        }
    )


def _make_folders(settings: Settings) -> list[Path]:
    made = []
    for variable, folder in (
        ("MLP_DATA_DIR", settings.data_dir),
        ("MLP_MODEL_DIR", settings.model_dir),
        ("MLP_CHECKPOINT_DIR", settings.checkpoint_dir),
    ):
        if folder.is_dir():
            continue
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"{variable}: {folder} cannot be created: {error}") from error
        made.append(folder)
    return made


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _data_dir(settings: Settings, work: Work) -> Path:
    """The folder that holds the data: the URI's, else the built-in data set's, else `MLP_DATA_DIR` itself."""
    if settings.data_uri:
        return storage.fetch(settings.data_uri, settings.data_dir, reuse=settings.attempt > 1)
    dataset = work.preset or (presets.get(settings.dataset) if settings.dataset else None)
    found = dataset.locate(settings.data_dir, settings.datasets_dir) if dataset else None
    return found or settings.data_dir


def _export(settings: Settings, context: Context) -> None:
    """Puts what was defaulted or given on the command line into the environment, for the user's code."""
    os.environ.update(settings.parameters.as_env())
    os.environ["MLP_DATA_DIR"] = str(context.data_dir)
    os.environ["MLP_MODEL_DIR"] = str(settings.model_dir)
    os.environ["MLP_CHECKPOINT_DIR"] = str(settings.checkpoint_dir)


def _save_returned(settings: Settings, recorder: Recorder, returned: Any) -> None:
    """Takes what an entrypoint returned: metrics are recorded, a model is saved below the model folder."""
    import keras

    parts = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned,)
    model = None
    for part in parts:
        if isinstance(part, keras.Model):
            model = part
        elif isinstance(part, keras.callbacks.History):
            model = part.model
        elif hasattr(part, "items"):
            recorder.report(dict(part.items()))
        elif part is not None:
            recorder.warn(
                f"the entrypoint returned a {type(part).__name__}: neither a model, nor metrics, nor both"
            )
    if model is None:
        return
    path = settings.model_dir / MODEL_FILE
    temporary = settings.model_dir / f".{os.getpid()}.{MODEL_FILE}"
    try:
        model.save(temporary)
        temporary.replace(path)
    except Exception as error:
        raise ModelError(
            f"the model could not be saved to {path}: {type(error).__name__}: {error}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _place_model(settings: Settings, before: dict[Path, tuple[int, int]]) -> Model | None:
    files = storage.model_files(settings.model_dir, before)
    if not files:
        return None
    digest = storage.digest(settings.model_dir, files)
    size = sum(path.stat().st_size for path in files)
    uri = storage.place(settings.model_dir, files, settings.model_uri or str(settings.model_dir))
    say(f"model: {uri} ({size / 1e6:.1f} MB), {digest}")
    return Model(uri=uri, digest=digest, bytes=size)


def _summary(result: Result) -> str:
    if result.failure:
        return f"{result.failure.reason}: {result.failure.message}"
    return (
        ", ".join(f"{name}={value}" for name, value in result.metrics.items()) or "no metrics were reported"
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

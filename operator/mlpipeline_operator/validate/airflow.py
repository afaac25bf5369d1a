"""``Airflow`` -> ``AirflowValue``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mlpipeline_operator.api.airflow import AirflowSpec, Artifacts, Component, Database, Storage
from mlpipeline_operator.api.airflow import EmbeddedDatabase as WireEmbedded
from mlpipeline_operator.api.airflow_rules import (
    DEFAULT_AIRFLOW_VERSION,
    DEFAULT_ARTIFACTS_SIZE,
    DEFAULT_DATABASE_SIZE,
    LONGEST_AIRFLOW_NAME,
    RESERVED_OPTIONS,
)
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import quantities
from mlpipeline_operator.validate.scalars import canonical
from mlpipeline_operator.validate.wire import env_vars, owner, parse_spec
from mlpipeline_operator.values import (
    AirflowValue,
    ArtifactsVolume,
    ComponentSettings,
    EmbeddedDatabase,
    ExternalAirflowValue,
    ExternalDatabase,
    Images,
)

__all__ = ["is_external", "validate_airflow", "validate_external_airflow"]

DEFAULT_MAX_ACTIVE_RUNS: Final = 16
DEFAULT_SECRET_KEY: Final = "connection"
DEFAULT_CA_KEY: Final = "ca.crt"
# Sections and options become parts of environment variables' names.
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_URL = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")


def is_external(body: Mapping[str, Any]) -> bool:
    """Whether somebody else runs the Airflow."""
    return (body.get("spec") or {}).get("external") is not None


def validate_external_airflow(body: Mapping[str, Any]) -> ExternalAirflowValue:
    """Return how an external Airflow is reached.

    Raises:
        SpecError: Only an edit of the Airflow can mend it; the message says which.
    """
    spec = parse_spec(AirflowSpec, body)
    who = owner(body, "Airflow", LONGEST_AIRFLOW_NAME)
    external = spec.external
    if external is None:
        raise SpecError("spec.external: needed")
    if spec.config is not None:
        raise SpecError(
            "spec.config: the operator does not manage an external Airflow: leave out config, or external"
        )
    if not _URL.fullmatch(external.url):
        raise SpecError(
            "spec.external.url: write a URL with http:// or https:// and a host, without user, password,"
            " query and fragment, for example https://airflow.example.com"
        )
    ca = external.ca_secret_ref
    return ExternalAirflowValue(
        owner=who,
        url=external.url.rstrip("/"),
        secret=external.credentials_secret_ref.name,
        ca=(ca.name, ca.key or DEFAULT_CA_KEY) if ca else None,
        verify_tls=not external.insecure_skip_tls_verify,
    )


def validate_airflow(body: Mapping[str, Any], images: Images) -> AirflowValue:
    """Return what an Airflow asks for, every default filled in.

    The version is the spec's, else the one that its status says it runs already, else the one in ``images``:
    an operator that comes with another version never migrates a database by itself.

    Raises:
        SpecError: Only an edit of the Airflow can mend it; the message says which.
    """
    spec = parse_spec(AirflowSpec, body)
    who = owner(body, "Airflow", LONGEST_AIRFLOW_NAME)
    service_type = spec.service and spec.service.type
    return AirflowValue(
        owner=who,
        version=_version(spec, (body.get("status") or {}).get("version")),
        image=spec.image or images.airflow,
        env=env_vars(spec.env),
        config=_config(spec.config or {}),
        service_type=service_type or "ClusterIP",
        database=_database(spec.database, images),
        artifacts=_artifacts(spec.artifacts or Artifacts()),
        components={
            "api-server": _component(spec.api_server, "apiServer"),
            "scheduler": _component(spec.scheduler, "scheduler"),
            "dag-processor": _component(spec.dag_processor, "dagProcessor"),
            "triggerer": _component(spec.triggerer, "triggerer"),
        },
        max_active_runs=spec.max_active_runs or DEFAULT_MAX_ACTIVE_RUNS,
        retain=spec.deletion_policy != "Delete",
    )


def _version(spec: AirflowSpec, running: str | None) -> str:
    version = spec.version or running or DEFAULT_AIRFLOW_VERSION
    if version == DEFAULT_AIRFLOW_VERSION or spec.image is not None:
        return version
    if spec.version is None:
        raise SpecError(
            f"this Airflow runs {version}, and this operator's image holds {DEFAULT_AIRFLOW_VERSION}:"
            f" set spec.version to {DEFAULT_AIRFLOW_VERSION} to upgrade (the database is migrated),"
            f" or spec.image to an image of {version}",
            reason="VersionNotAvailable",
        )
    raise SpecError(
        f"spec.version: this operator's image holds Airflow {DEFAULT_AIRFLOW_VERSION}; for {version} set"
        " spec.image to an image of it, built from the project's Dockerfile",
        reason="VersionNotAvailable",
    )


def _config(config: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for section in sorted(config):
        for option in sorted(config[section]):
            path = f"spec.config.{section}.{option}"
            for part in (section, option):
                if not _OPTION.fullmatch(part):
                    raise SpecError(
                        f'{path}: "{part}" is not a name in airflow.cfg: letters, digits and "_" only'
                    )
            reserved = RESERVED_OPTIONS.get((section.lower(), option.lower()))
            if reserved is not None:
                raise SpecError(f"{path}: cannot be set here: {reserved}")
            found.setdefault(section, {})[option] = canonical(config[section][option], path)
    return found


def _database(database: Database | None, images: Images) -> EmbeddedDatabase | ExternalDatabase:
    embedded = database and database.embedded
    secret = database and database.secret_ref
    if embedded and secret:
        raise SpecError("spec.database: embedded and secretRef exclude each other: keep one of them")
    if secret:
        return ExternalDatabase(secret=secret.name, key=secret.key or DEFAULT_SECRET_KEY)
    wanted = embedded or WireEmbedded()
    storage = wanted.storage or Storage()
    return EmbeddedDatabase(
        image=images.postgres,
        size=_size(storage.size, DEFAULT_DATABASE_SIZE, "spec.database.embedded.storage.size"),
        storage_class=storage.storage_class_name,
        resources=quantities.resource_requirements(wanted.resources, "spec.database.embedded.resources"),
    )


def _artifacts(artifacts: Artifacts) -> ArtifactsVolume:
    return ArtifactsVolume(
        size=_size(artifacts.size, DEFAULT_ARTIFACTS_SIZE, "spec.artifacts.size"),
        storage_class=artifacts.storage_class_name,
        access_modes=tuple(artifacts.access_modes or ("ReadWriteOnce",)),
    )


def _size(size: str | int | None, default: str, path: str) -> str:
    if size is None:
        return default
    if quantities.parse(size, path) <= 0:
        raise SpecError(f'{path}: "{size}" is not the size of a volume; write for example {default}')
    return str(size)


def _component(component: Component | None, field: str) -> ComponentSettings:
    if component is None:
        return ComponentSettings()
    return ComponentSettings(
        replicas=component.replicas or 1,
        resources=quantities.resource_requirements(component.resources, f"spec.{field}.resources"),
    )

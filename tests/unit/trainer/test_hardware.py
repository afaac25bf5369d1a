from pathlib import Path

import pytest

from mlpipeline_trainer import hardware


def cgroup(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("cpu_max", "cpu.max").replace(
            "cpu/cfs", "cpu/cpu.cfs"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.mark.parametrize(
    ("text", "cpus"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("nonsense", None)]
)
def test_the_limit_of_a_version_2_cgroup_is_read(tmp_path: Path, text: str, cpus: float | None) -> None:
    assert hardware.cpu_limit(cgroup(tmp_path, cpu_max=text)) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("200000\n", 2.0), ("-1\n", None)])
def test_the_limit_of_a_version_1_cgroup_is_read(tmp_path: Path, quota: str, cpus: float | None) -> None:
    folder = cgroup(tmp_path, cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000\n")
    assert hardware.cpu_limit(folder) == cpus


def test_tensorflow_gets_no_more_threads_than_the_container_has_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    environ = {"OMP_NUM_THREADS": "1"}
    hardware.prepare_environment(environ, False, cgroup(tmp_path, cpu_max="150000 100000"))
    assert environ == {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_NUM_INTRAOP_THREADS": "2",
        "TF_NUM_INTEROP_THREADS": "2",
        "OMP_NUM_THREADS": "1",
    }


def test_without_a_limit_tensorflow_decides(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    hardware.prepare_environment(environ, True, tmp_path)
    assert environ == {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "1"}

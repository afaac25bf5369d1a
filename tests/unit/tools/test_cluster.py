from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tools.cluster import __main__ as cli
from tools.cluster import (
    builders,
    cgroups,
    components,
    kind,
    lifecycle,
    nodeconfig,
    pauseimage,
    processes,
    record,
    toolchain,
)
from tools.cluster.errors import ClusterError, tail
from tools.cluster.paths import Layout
from tools.cluster.progress import Progress


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Layout("demo")


@pytest.fixture
def plane(layout: Layout) -> components.ControlPlane:
    return components.ControlPlane(layout, Path("/programs"), "127.0.0.1", 4711)


def flags(component: components.Component) -> dict[str, str]:
    return dict(argument.removeprefix("--").split("=", 1) for argument in component.argv[1:])


def test_the_state_lies_in_the_users_state_folder(layout: Layout, tmp_path: Path) -> None:
    assert layout.root == tmp_path / "state" / "mlpipeline" / "demo"
    assert layout.root not in layout.lock.parents


def test_a_relative_xdg_folder_is_ignored_as_the_standard_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert Layout("demo").root == Path.home() / ".local" / "state" / "mlpipeline" / "demo"


@pytest.mark.parametrize("name", ["", "Demo", "../x", "1st", "a" * 31, "ends-", "a b"])
def test_a_name_that_would_not_do_as_a_host_name_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="--name"):
        Layout(name)


def test_every_request_is_audited_by_its_metadata(plane: components.ControlPlane, layout: Layout) -> None:
    assert components.AUDIT_POLICY["rules"] == [{"level": "Metadata"}]
    assert flags(plane.api_server())["audit-log-path"] == str(layout.audit_log)


def test_a_control_plane_alone_listens_on_loopback_and_publishes_no_endpoint(
    plane: components.ControlPlane,
) -> None:
    api_server = flags(plane.api_server())
    assert (api_server["bind-address"], api_server["secure-port"]) == ("127.0.0.1", "4711")
    assert api_server["endpoint-reconciler-type"] == "none"
    assert "advertise-address" not in api_server
    assert all(url.startswith("unix:///") for key, url in flags(plane.etcd()).items() if key.endswith("urls"))


def test_a_node_publishes_its_endpoint_and_gets_a_range_of_addresses(layout: Layout) -> None:
    plane = components.ControlPlane(layout, Path("/programs"), "198.51.100.2", 6443, node=True)
    assert flags(plane.api_server())["advertise-address"] == "198.51.100.2"
    assert flags(plane.controller_manager())["allocate-node-cidrs"] == "true"


def test_kubeadm_is_told_the_address_the_names_and_the_folder(
    plane: components.ControlPlane, layout: Layout
) -> None:
    init, cluster = map(
        json.loads, components.kubeadm_config(plane, "v1.37.2", "demo", ["localhost"]).split("\n---\n")
    )
    assert init["nodeRegistration"]["name"] == "demo"
    assert cluster["controlPlaneEndpoint"] == "127.0.0.1:4711"
    assert cluster["certificatesDir"] == str(layout.pki)
    assert cluster["apiServer"]["certSANs"] == ["127.0.0.1", "localhost"]


@pytest.fixture
def node(layout: Layout) -> nodeconfig.Node:
    return nodeconfig.Node(layout, "demo", "198.51.100.2", "198.51.100.1", "mlp0", Path("/k8s"), Path("/cni"))


def test_what_containerd_keeps_lies_in_the_state_folder(node: nodeconfig.Node, layout: Layout) -> None:
    import tomllib

    config = tomllib.loads(nodeconfig.files(node)["containerd.toml"])
    assert config["root"] == str(layout.root / "containerd")
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["cni"]["bin_dir"] == "/cni"


def test_the_kubelet_takes_whatever_cgroups_there_are_and_never_evicts_for_the_disk(
    node: nodeconfig.Node,
) -> None:
    kubelet = json.loads(nodeconfig.files(node)["kubelet.json"])
    assert kubelet["failCgroupV1"] is False
    assert kubelet["imageGCHighThresholdPercent"] == 100
    assert kubelet["clusterDNS"] == [components.DNS_SERVICE]


def test_there_is_one_storage_class_and_it_is_the_default(node: nodeconfig.Node) -> None:
    (found,) = (each for each in nodeconfig.addons(node) if each["kind"] == "StorageClass")
    assert found["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    provisioner = next(each for each in nodeconfig.components(node) if each.name == "storage-provisioner")
    assert f"-provisioner={found['provisioner']}" in provisioner.argv


def test_dns_is_a_service_whose_endpoint_is_the_node(node: nodeconfig.Node) -> None:
    objects = {each["kind"]: each for each in nodeconfig.addons(node)}
    assert objects["Service"]["spec"]["clusterIP"] == components.DNS_SERVICE
    assert objects["EndpointSlice"]["endpoints"][0]["addresses"] == ["198.51.100.2"]
    assert "bind 198.51.100.2" in nodeconfig.files(node)["Corefile"]


def test_kind_mounts_the_audit_policy_and_the_logs_folder_of_this_cluster(layout: Layout) -> None:
    text = kind.config(layout)
    assert f"hostPath: {layout.root}/audit-policy.json" in text
    assert f"hostPath: {layout.audit_log.parent}\n" in text
    assert "$" not in text.partition("kind: Cluster")[2]


@pytest.mark.parametrize(
    ("running", "wanted", "asked", "serves"),
    [
        ("native", "native", "auto", True),
        ("native", "kind", "auto", True),
        ("native", "kind", "kind", False),
        ("control-plane", "native", "auto", False),
        ("native", "control-plane", "auto", False),
        ("control-plane", "control-plane", "auto", True),
    ],
)
def test_a_running_cluster_is_taken_only_for_what_it_can_be(
    running: str, wanted: str, asked: str, serves: bool
) -> None:
    assert lifecycle._serves(running, wanted, asked) is serves


HYBRID = """\
25 20 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
27 25 0:24 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
28 25 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
29 25 0:23 / /other/cpu rw,relatime - cgroup cgroup rw,cpu
"""


def test_cgroup_hierarchies_of_both_versions_are_found_once_each() -> None:
    found = {str(each.mountpoint): (each.kind, each.options) for each in cgroups.hierarchies(HYBRID)}
    assert found == {
        "/sys/fs/cgroup/cpu": ("cgroup", "cpu"),
        "/sys/fs/cgroup/systemd": ("cgroup", "none,name=systemd"),
        "/sys/fs/cgroup/unified": ("cgroup2", ""),
    }


def test_processes_are_ended_also_when_they_ignore_the_first_signal(layout: Layout) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    log = layout.log("deaf")
    process = processes.spawn("deaf", [sys.executable, "-c", deaf], log, cwd=Path("/"))
    while not log.read_text():
        time.sleep(0.01)
    assert process.alive()
    processes.stop([process], grace=0.1)
    assert not process.alive()


def test_a_process_is_gone_only_when_its_last_thread_is(layout: Layout) -> None:
    """Of etcd and the API server the first thread ends first, and the memory goes with the last."""
    lingering = (
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(0.5,)).start();"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    process = processes.spawn(
        "lingering", [sys.executable, "-c", lingering], layout.log("lingering"), cwd=Path("/")
    )
    while process.alive():
        time.sleep(0.01)
    processes.wait_gone([process])
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def test_a_process_id_that_is_used_again_is_not_taken_for_ours() -> None:
    assert not processes.Process("other", os.getpid(), started=1).alive()
    assert processes.Process.of("this", os.getpid()).alive()


def test_a_failed_command_is_quoted_with_the_end_of_its_output() -> None:
    with pytest.raises(ClusterError, match=r"(?s)the thing failed \(exit status 3\).*why it failed"):
        processes.run(["sh", "-c", "echo why it failed >&2; exit 3"], what="the thing")


def test_a_pipe_fails_when_either_end_fails() -> None:
    processes.pipe(["echo", "hello"], ["grep", "-q", "hello"], what="piping")
    with pytest.raises(ClusterError, match=r"(?s)piping failed.*reason"):
        processes.pipe(["sh", "-c", "echo reason >&2; exit 1"], ["cat"], what="piping")
    with pytest.raises(ClusterError, match="piping failed"):
        processes.pipe(["yes"], ["false"], what="piping")


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ClusterError, match="no-such-program is not there"):
        processes.run(["no-such-program"])


def test_an_error_quotes_the_last_lines_of_the_log_and_its_path(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    quoted = tail(log, lines=2)
    assert "line 98" in quoted
    assert "line 97" not in quoted
    assert str(log) in quoted


def test_a_record_is_read_back_as_it_was_written(layout: Layout) -> None:
    written = record.Record("native", "v1", processes=[processes.Process("a", 1, 2)], details={"url": "u"})
    written.save(layout)
    assert record.load(layout) == written
    assert record.load(Layout("another")) is None


def test_the_phases_of_each_command_are_recorded(layout: Layout) -> None:
    for command in ("up", "images load"):
        progress = Progress(command)
        with progress.phase("Working"):
            pass
        progress.save(layout.timings)
    stored = json.loads(layout.timings.read_text())
    assert [(each["command"], each["phases"][0]["name"]) for each in stored] == [
        ("up", "Working"),
        ("images load", "Working"),
    ]


def test_a_phase_that_fails_is_not_recorded_as_done(layout: Layout) -> None:
    progress = Progress("up")
    with pytest.raises(ClusterError), progress.phase("Working"):
        raise ClusterError("no")
    assert progress.phases == []


def test_a_program_is_cached_under_its_version_and_its_source(
    monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    folder = toolchain.folder(toolchain.NODE)
    assert folder.name.startswith(f"node-{toolchain.KUBERNETES_VERSION}-")
    assert folder == toolchain.folder(toolchain.NODE)
    assert folder != toolchain.folder(toolchain.PAUSE)


def test_the_go_modules_pin_the_versions_that_are_named_here() -> None:
    node_module = (toolchain.SOURCES / "go.mod").read_text()
    assert f"k8s.io/kubernetes {toolchain.KUBERNETES_VERSION}\n" in node_module
    assert f"coredns/coredns {toolchain.COREDNS_VERSION}\n" in node_module
    assert (
        f"sigs.k8s.io/kind {toolchain.KIND_VERSION}\n" in (toolchain.SOURCES / "kind" / "go.mod").read_text()
    )


def test_a_build_takes_over_the_hosts_index_and_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*builders._SETTINGS, *builders._CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
    assert (builders.settings(), builders.certificates()) == ({}, None)
    bundle = tmp_path / "bundle.crt"
    bundle.write_text("")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.invalid/simple")
    monkeypatch.setenv("PIP_CERT", str(bundle))
    assert builders.settings() == {"PIP_INDEX_URL": "https://index.invalid/simple"}
    assert builders.certificates() == str(bundle)


def test_the_pause_image_names_its_layer_by_its_digest(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "pause").write_bytes(b"program")
    pauseimage.write(tmp_path / "pause", "localhost/x/pause:1", tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as tar:
        contents = {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}
    (manifest,) = json.loads(contents["manifest.json"])
    config = json.loads(contents[manifest["Config"]])
    assert manifest["RepoTags"] == ["localhost/x/pause:1"]
    layer = hashlib.sha256(contents["layer.tar"]).hexdigest()
    assert config["rootfs"]["diff_ids"] == [f"sha256:{layer}"]


def test_what_is_not_there_is_said_and_nothing_is_made(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--name", "demo"]) == 1
    assert json.loads(capsys.readouterr().out) == {"name": "demo", "state": "Absent"}
    assert cli.main(["kubeconfig", "--name", "demo"]) == 1
    assert "there is no cluster 'demo': run" in capsys.readouterr().err
    assert cli.main(["down", "--name", "demo"]) == 0
    assert not layout.root.exists()


def test_a_bare_python_without_any_package_runs_the_command_line() -> None:
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        "import sys; sys.path.insert(0, '.'); import tools.cluster.__main__",
    ]
    done = subprocess.run(command, cwd=toolchain.SOURCES.parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

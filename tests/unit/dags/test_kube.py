"""The reader of the Kubernetes API, over a connection that the test plays."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from mlpipeline_dags import kube
from mlpipeline_dags.kube import Cluster, KubernetesError

Answer = tuple[int, Any] | Exception


class Response:
    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def read(self) -> bytes:
        return self._body


class Server:
    """Gives its answers one by one and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str]] = []
        self.connections = 0

    def connect(self, *_args: Any, **_options: Any) -> Server:
        self.connections += 1
        return self

    def request(self, method: str, path: str, headers: dict[str, str]) -> None:
        assert method == "GET"
        self.requests.append((path, headers["Authorization"]))

    def getresponse(self) -> Response:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Response(*answer)


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("team-a")
    (tmp_path / "ca.crt").write_text("")
    return tmp_path


def cluster(monkeypatch: pytest.MonkeyPatch, account: Path, *answers: Answer) -> tuple[Cluster, Server]:
    server = Server(*answers)
    monkeypatch.setattr(kube.http.client, "HTTPSConnection", server.connect)
    monkeypatch.setattr(kube.ssl, "create_default_context", lambda **_options: None)
    return Cluster(account, "10.0.0.1", 443), server


def test_a_config_maps_data_is_read(monkeypatch: pytest.MonkeyPatch, account: Path) -> None:
    reader, server = cluster(monkeypatch, account, (200, {"data": {"version": "v1"}}))
    assert reader.config_map("team-a", "pointer") == {"version": "v1"}
    assert server.requests == [("/api/v1/namespaces/team-a/configmaps/pointer", "Bearer first")]


def test_a_config_map_without_data_is_empty(monkeypatch: pytest.MonkeyPatch, account: Path) -> None:
    reader, _ = cluster(monkeypatch, account, (200, {}))
    assert reader.config_map("team-a", "pointer") == {}


def test_a_config_map_that_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch, account: Path) -> None:
    reader, _ = cluster(monkeypatch, account, (404, {"message": "not found"}))
    assert reader.config_map("team-a", "pointer") is None


def test_a_refusal_tells_the_servers_words(monkeypatch: pytest.MonkeyPatch, account: Path) -> None:
    reader, _ = cluster(monkeypatch, account, (403, {"message": "cannot get configmaps"}))
    with pytest.raises(KubernetesError, match="403 cannot get configmaps") as refused:
        reader.config_map("team-a", "pointer")
    assert refused.value.status == 403


def test_one_connection_serves_all_requests(monkeypatch: pytest.MonkeyPatch, account: Path) -> None:
    reader, server = cluster(monkeypatch, account, (200, {}), (200, {}))
    reader.config_map("team-a", "a")
    reader.config_map("team-a", "b")
    assert server.connections == 1


def test_a_connection_that_was_closed_while_idle_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, account: Path
) -> None:
    closed = http.client.RemoteDisconnected("closed")
    reader, server = cluster(monkeypatch, account, (200, {}), closed, (200, {"data": {"a": "b"}}))
    reader.config_map("team-a", "a")
    assert reader.config_map("team-a", "b") == {"a": "b"}
    assert server.connections == 2


def test_a_server_that_is_away_is_an_error_without_a_status(
    monkeypatch: pytest.MonkeyPatch, account: Path
) -> None:
    reader, server = cluster(monkeypatch, account, ConnectionRefusedError("refused"), TimeoutError("slow"))
    for words in ("refused", "slow"):
        with pytest.raises(KubernetesError, match=words) as away:
            reader.config_map("team-a", "a")
        assert away.value.status == 0
    assert server.connections == 2


def test_a_rotated_token_is_used(monkeypatch: pytest.MonkeyPatch, account: Path) -> None:
    reader, server = cluster(monkeypatch, account, (200, {}), (200, {}))
    reader.config_map("team-a", "a")
    (account / "token").write_text("second\n")
    reader.config_map("team-a", "a")
    assert [token for _, token in server.requests] == ["Bearer first", "Bearer second"]


def test_outside_a_pod_the_missing_account_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubernetesError, match="no service account in"):
        _ = Cluster(tmp_path / "none", "h", 1).namespace


def test_pods_come_oldest_first(monkeypatch: pytest.MonkeyPatch, account: Path) -> None:
    items = [
        {"metadata": {"name": "b", "creationTimestamp": "2026-11-22T20:00:01Z"}},
        {"metadata": {"name": "a", "creationTimestamp": "2026-11-22T20:00:00Z"}},
    ]
    reader, server = cluster(monkeypatch, account, (200, {"items": items}))
    pods = reader.pods("team-a", {"dag_id": "x", "try_number": "1"})
    assert [pod["metadata"]["name"] for pod in pods] == ["a", "b"]
    assert server.requests[0][0].endswith("/pods?labelSelector=dag_id%3Dx%2Ctry_number%3D1")


def test_a_pods_log_comes_line_by_line(monkeypatch: pytest.MonkeyPatch, account: Path) -> None:
    reader, server = cluster(monkeypatch, account, (200, b"one\ntwo \xff\n"))
    assert list(reader.pod_log("team-a", "p", "base")) == ["one", "two \ufffd"]
    assert server.requests[0][0] == "/api/v1/namespaces/team-a/pods/p/log?container=base"

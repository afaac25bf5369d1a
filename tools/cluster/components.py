"""The command lines of the control plane's components (pure: nothing is started here).

Flags follow what kubeadm sets, so that the cluster behaves as one made by it; everything
else is left at Kubernetes' defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .paths import Layout

SERVICE_SUBNET = "10.96.0.0/16"
POD_SUBNET = "10.244.0.0/16"
DNS_SERVICE = "10.96.0.10"
DNS_DOMAIN = "cluster.local"

# An address for documentation (RFC 5737).
_LOCAL_ENDPOINT = "198.51.100.1"

AUDIT_POLICY: Mapping[str, object] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class Component:
    """A process of the cluster: its name (also its log's) and its command line."""

    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class ControlPlane:
    """What the control plane's command lines depend on.

    Attributes:
        layout: The cluster's files.
        programs: The folder of the binaries.
        address: The address that the API server listens on.
        port: The API server's port.
        controller_manager_port: The controller manager's port, on loopback.
        node: Whether there is a node: its endpoint is published and its kubelet called.
    """

    layout: Layout
    programs: Path
    address: str
    port: int
    controller_manager_port: int = 10257
    node: bool = False

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.port}"

    @property
    def etcd_url(self) -> str:
        """The URL of etcd: a socket in the cluster's folder, which only its owner may enter."""
        return f"unix://{self.layout.root / 'etcd.sock'}"

    def _pki(self, name: str) -> str:
        return str(self.layout.pki / name)

    def _component(self, name: str, flags: Mapping[str, str]) -> Component:
        arguments = (f"--{flag}={value}" for flag, value in flags.items())
        return Component(name, (str(self.programs / name), *arguments))

    @property
    def users(self) -> dict[str, tuple[str, str]]:
        """The kubeconfigs to make: for each file a user and a group ("" for none)."""
        return {
            self.layout.kubeconfig.name: ("kubernetes-super-admin", "system:masters"),
            "controller-manager.conf": ("system:kube-controller-manager", ""),
        }

    def etcd(self) -> Component:
        """Return etcd, one member."""
        peer = f"unix://{self.layout.root / 'peer.sock'}"
        return self._component(
            "etcd",
            {
                "name": "default",
                "data-dir": str(self.layout.root / "etcd"),
                "listen-client-urls": self.etcd_url,
                "advertise-client-urls": self.etcd_url,
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": f"default={peer}",
                "logger": "zap",
                "log-level": "warn",
            },
        )

    def api_server(self) -> Component:
        """Return the API server, with an audit log of every request's metadata."""
        flags = {
            "etcd-servers": self.etcd_url,
            "bind-address": self.address,
            "secure-port": str(self.port),
            "service-cluster-ip-range": SERVICE_SUBNET,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "client-ca-file": self._pki("ca.crt"),
            "tls-cert-file": self._pki("apiserver.crt"),
            "tls-private-key-file": self._pki("apiserver.key"),
            "kubelet-client-certificate": self._pki("apiserver-kubelet-client.crt"),
            "kubelet-client-key": self._pki("apiserver-kubelet-client.key"),
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": f"https://kubernetes.default.svc.{DNS_DOMAIN}",
            "service-account-key-file": self._pki("sa.pub"),
            "service-account-signing-key-file": self._pki("sa.key"),
            "requestheader-client-ca-file": self._pki("front-proxy-ca.crt"),
            "requestheader-allowed-names": "front-proxy-client",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-username-headers": "X-Remote-User",
            "proxy-client-cert-file": self._pki("front-proxy-client.crt"),
            "proxy-client-key-file": self._pki("front-proxy-client.key"),
            "audit-policy-file": str(self.layout.root / "audit-policy.json"),
            "audit-log-path": str(self.layout.audit_log),
            "audit-log-maxsize": "1000",
            "audit-log-maxbackup": "1",
        }
        if self.node:
            flags["advertise-address"] = self.address
        else:
            # A loopback address may not be an endpoint of the Service "kubernetes".
            flags["endpoint-reconciler-type"] = "none"
        return self._component("kube-apiserver", flags)

    def controller_manager(self) -> Component:
        """Return the controller manager with all its controllers."""
        kubeconfig = str(self.layout.root / "controller-manager.conf")
        return self._component(
            "kube-controller-manager",
            {
                "kubeconfig": kubeconfig,
                "authentication-kubeconfig": kubeconfig,
                "authorization-kubeconfig": kubeconfig,
                "bind-address": "127.0.0.1",
                "secure-port": str(self.controller_manager_port),
                "client-ca-file": self._pki("ca.crt"),
                "root-ca-file": self._pki("ca.crt"),
                "cluster-signing-cert-file": self._pki("ca.crt"),
                "cluster-signing-key-file": self._pki("ca.key"),
                "service-account-private-key-file": self._pki("sa.key"),
                "requestheader-client-ca-file": self._pki("front-proxy-ca.crt"),
                "use-service-account-credentials": "true",
                "allocate-node-cidrs": "true" if self.node else "false",
                "cluster-cidr": POD_SUBNET,
                "service-cluster-ip-range": SERVICE_SUBNET,
                "leader-elect": "false",
                # Each controller first makes itself an account: at the default (30) that takes 6 seconds.
                "kube-api-burst": "200",
                "flex-volume-plugin-dir": str(self.layout.root / "flexvolume"),
            },
        )

    def scheduler(self) -> Component:
        """Return the scheduler."""
        kubeconfig = str(self.layout.root / "scheduler.conf")
        return self._component(
            "kube-scheduler",
            {
                "kubeconfig": kubeconfig,
                "authentication-kubeconfig": kubeconfig,
                "authorization-kubeconfig": kubeconfig,
                "bind-address": "127.0.0.1",
                "leader-elect": "false",
            },
        )


def kubeadm_config(plane: ControlPlane, version: str, node_name: str, names: Sequence[str]) -> str:
    """Return kubeadm's configuration (JSON documents), from which it makes certificates and kubeconfigs.

    Args:
        plane: the control plane.
        version: Kubernetes' version, with a "v".
        node_name: the node's name; "control-plane" where there is no node.
        names: further names and addresses for the API server's certificate.
    """
    api_version = "kubeadm.k8s.io/v1beta4"
    documents: list[dict[str, object]] = [
        {
            "apiVersion": api_version,
            "kind": "InitConfiguration",
            # kubeadm takes no loopback address here; the kubeconfigs get the control plane's endpoint.
            "localAPIEndpoint": {"advertiseAddress": _LOCAL_ENDPOINT, "bindPort": plane.port},
            "nodeRegistration": {"name": node_name, "criSocket": "unix:///run/containerd/containerd.sock"},
        },
        {
            "apiVersion": api_version,
            "kind": "ClusterConfiguration",
            "kubernetesVersion": version,
            "clusterName": plane.layout.name,
            "certificatesDir": str(plane.layout.pki),
            "controlPlaneEndpoint": f"{plane.address}:{plane.port}",
            "networking": {"serviceSubnet": SERVICE_SUBNET, "podSubnet": POD_SUBNET, "dnsDomain": DNS_DOMAIN},
            "apiServer": {"certSANs": [plane.address, *names]},
            # etcd listens on a socket, so it needs no certificates; the address is never used.
            "etcd": {"external": {"endpoints": ["http://127.0.0.1:2379"]}},
        },
    ]
    return "\n---\n".join(json.dumps(document) for document in documents)

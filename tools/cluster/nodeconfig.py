"""The configuration of the node's components and of what runs on it (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .components import DNS_DOMAIN, DNS_SERVICE, POD_SUBNET, Component
from .paths import Layout

PAUSE_IMAGE = "localhost/mlpipeline/pause:1"
STORAGE_PROVISIONER = "mlpipelines.dev/directory"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_COREDNS_USER = "mlpipeline:coredns"
_STORAGE_USER = "mlpipeline:storage-provisioner"
_RBAC = "rbac.authorization.k8s.io"
_NODE_SUBNET = "10.244.0.0/24"


@dataclass(frozen=True)
class Node:
    """What the configuration of the node depends on.

    Attributes:
        layout: The cluster's files.
        name: The node's name.
        address: The node's address.
        gateway: The host's address on the link to the node.
        interface: The host's end of that link.
        programs: The folder of the binaries.
        cni: The folder of the CNI plugins.
        snapshotter: containerd's snapshotter.
    """

    layout: Layout
    name: str
    address: str
    gateway: str
    interface: str
    programs: Path
    cni: Path
    snapshotter: str = "overlayfs"

    def path(self, name: str) -> str:
        """Return the path of a file in the cluster's state folder."""
        return str(self.layout.root / name)


def files(node: Node) -> dict[str, str]:
    """Return the configuration files, by their name in the state folder."""
    return {
        "containerd.toml": _containerd(node),
        "cni/10-mlpipeline.conflist": json.dumps(_cni(), indent=1),
        "kubelet.json": json.dumps(_kubelet(node), indent=1),
        "kube-proxy.json": json.dumps(_kube_proxy(node), indent=1),
        "Corefile": _corefile(node),
        # Pods ask the cluster's DNS; nothing outside can be reached, so nothing else is asked.
        "resolv.conf": "",
    }


def users(node: Node) -> dict[str, tuple[str, str]]:
    """Return the kubeconfigs that the node needs: for each file a user and a group ("" for none)."""
    return {
        "kubelet.conf": (f"system:node:{node.name}", "system:nodes"),
        "kube-proxy.conf": ("system:kube-proxy", ""),
        "scheduler.conf": ("system:kube-scheduler", ""),
        "coredns.conf": (_COREDNS_USER, ""),
        "storage-provisioner.conf": (_STORAGE_USER, ""),
    }


def components(node: Node) -> list[Component]:
    """Return the node's own components, in the order of their start."""
    programs = node.programs
    return [
        Component(
            "kubelet",
            (
                str(programs / "kubelet"),
                f"--config={node.path('kubelet.json')}",
                f"--kubeconfig={node.path('kubelet.conf')}",
                f"--hostname-override={node.name}",
                f"--node-ip={node.address}",
            ),
        ),
        Component(
            "kube-proxy",
            (
                str(programs / "kube-proxy"),
                f"--config={node.path('kube-proxy.json')}",
                f"--hostname-override={node.name}",
            ),
        ),
        Component("coredns", (str(programs / "coredns"), "-conf", node.path("Corefile"))),
        Component(
            "storage-provisioner",
            (
                str(programs / "storage-provisioner"),
                f"-provisioner={STORAGE_PROVISIONER}",
                f"-kubeconfig={node.path('storage-provisioner.conf')}",
                f"-root={node.path('volumes')}",
                f"-node={node.name}",
            ),
        ),
    ]


def containerd(node: Node, program: str) -> Component:
    """Return containerd, with a root, a state and a socket of its own."""
    return Component("containerd", (program, "--config", node.path("containerd.toml")))


def _containerd(node: Node) -> str:
    # JSON strings are TOML strings.
    text = json.dumps
    return f"""\
version = 2
root = {text(node.path("containerd"))}
state = "/run/containerd"

[grpc]
  address = {text(CONTAINERD_SOCKET)}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {text(PAUSE_IMAGE)}
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {text(str(node.cni))}
    conf_dir = {text(node.path("cni"))}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = {text(node.snapshotter)}
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _cni() -> dict[str, Any]:
    # ptp, not bridge: traffic between pods is routed, so that Services between pods of the
    # one node work without the kernel module br_netfilter.
    return {
        "cniVersion": "0.4.0",
        "name": "mlpipeline",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-addresses",
                    "ranges": [[{"subnet": _NODE_SUBNET}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(node.layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DNS_DOMAIN,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "resolvConf": node.path("resolv.conf"),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # A machine's cgroups need not be the kubelet's to arrange (nor version 2).
        "failCgroupV1": False,
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        # The kernel's settings are the host's: read-only here, and their errors are ignored.
        "featureGates": {"KubeletInUserNamespace": True},
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        # The disk is the user's: no pod is evicted and no loaded image deleted because it is nearly full.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
    }


def _kube_proxy(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": node.path("kube-proxy.conf")},
        "clusterCIDR": POD_SUBNET,
        "mode": "nftables",
        "conntrack": {"maxPerCore": 0},
    }


def _corefile(node: Node) -> str:
    return f"""\
.:53 {{
    bind {node.address}
    errors
    ready 127.0.0.1:8181
    kubernetes {DNS_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {node.path("coredns.conf")}
        pods insecure
        ttl 30
    }}
    cache 30
    loadbalance
}}
"""


def addons(node: Node) -> list[dict[str, Any]]:
    """Return the objects that the cluster needs: DNS, the default StorageClass, permissions."""
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    read = ["get", "list", "watch"]
    write = ["create", "patch", "update", "delete"]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
            "spec": {"clusterIP": DNS_SERVICE, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {
                    "kubernetes.io/service-name": "kube-dns",
                    "endpointslice.kubernetes.io/managed-by": "tools-cluster",
                },
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [node.address], "conditions": {"ready": True}}],
            "ports": ports,
        },
        # As kubeadm does: with it the API server may call the kubelet (logs, exec, port-forward).
        _binding(
            "kubeadm:apiserver-kubelet-client",
            role="system:kubelet-api-admin",
            subject={"kind": "User", "name": "kube-apiserver-kubelet-client"},
        ),
        *_granted(
            _COREDNS_USER,
            [
                {
                    "apiGroups": [""],
                    "resources": ["endpoints", "services", "pods", "namespaces"],
                    "verbs": read,
                },
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
            ],
        ),
        *_granted(
            _STORAGE_USER,
            [
                {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": [*read, *write]},
                {"apiGroups": [""], "resources": ["persistentvolumeclaims", "nodes"], "verbs": read},
                {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": read},
                {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": write},
            ],
        ),
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "standard",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": STORAGE_PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
    ]


def _granted(user: str, rules: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules}
    return [role, _binding(user, role=user, subject={"kind": "User", "name": user})]


def _binding(name: str, role: str, subject: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _RBAC, **subject}],
    }

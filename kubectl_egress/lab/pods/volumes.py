"""A pod's volumes and its files in /etc: which texts, and where a container sees them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubectl_egress.lab.parts import Body, LabRefusal
from kubectl_egress.lab.pods.environment import Lookup, data_of, field_value
from kubectl_egress.lab.pods.root import CA_BUNDLES, VolumeMount

Files = Mapping[str, bytes]
# What `items` and `projected` sources are called in a volume, and the resource behind each.
SOURCES = {"configMap": ("configmaps", "name"), "secret": ("secrets", "secretName")}
# Mounted by admission into every pod of a real cluster; nothing in the lab asks for a token.
TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"


def hosts_file(pod: Body, *addresses: str) -> str:
    """/etc/hosts as the kubelet writes it (pkg/kubelet/kubelet_pods.go, managedHostsFileContent)."""
    name = pod["metadata"]["name"]
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        *(f"{address}\t{name}" for address in addresses),
    ]
    aliases = pod.get("spec", {}).get("hostAliases") or ()
    if aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([alias["ip"], *(alias.get("hostnames") or ())]) for alias in aliases]
    return "\n".join(lines) + "\n"


def own_etc(pod: Body, addresses: Sequence[str], nameserver: str, certificate: str) -> dict[str, str]:
    """The files in /etc that are a pod's own, by path."""
    namespace = pod["metadata"]["namespace"]
    return {
        "/etc/hosts": hosts_file(pod, *addresses),
        "/etc/hostname": f"{pod['metadata']['name']}\n",
        "/etc/resolv.conf": (
            f"search {namespace}.svc.cluster.local svc.cluster.local cluster.local\n"
            f"nameserver {nameserver}\noptions ndots:5\n"
        ),
        # Another name service (systemd-resolved, mdns) would answer from the machine and not from the pod.
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        **dict.fromkeys(CA_BUNDLES, certificate),
    }


def volume_files(volume: Body, pod: Body, lookup: Lookup) -> Files | None:
    """The files of a volume by relative path; None for an empty directory. LabRefusal for what the lab does not have."""
    if "emptyDir" in volume:
        return None
    for kind, (resource, name_key) in SOURCES.items():
        if kind in volume:
            return _keys(resource, name_key, volume[kind], lookup)
    if "downwardAPI" in volume:
        return _fields(volume["downwardAPI"], pod)
    if "projected" in volume:
        return _projected(volume["projected"], pod, lookup)
    kinds = ", ".join(sorted(set(volume) - {"name"}))
    raise LabRefusal(f"volume {volume.get('name')}: the lab has no volumes of type {kinds or 'unknown'}")


def _projected(projected: Body, pod: Body, lookup: Lookup) -> Files:
    files: dict[str, bytes] = {}
    for source in projected.get("sources") or ():
        for kind, (resource, _) in SOURCES.items():
            if kind in source:
                files.update(_keys(resource, "name", source[kind], lookup))
        if "downwardAPI" in source:
            files.update(_fields(source["downwardAPI"], pod))
        if "serviceAccountToken" in source:
            files[source["serviceAccountToken"].get("path", "token")] = b""
    return files


def _fields(source: Body, pod: Body) -> dict[str, bytes]:
    files = {}
    for item in source.get("items") or ():
        path = item.get("fieldRef", {}).get("fieldPath", "")
        if path in ("metadata.labels", "metadata.annotations"):
            values = pod["metadata"].get(path.partition(".")[2]) or {}
            text = "".join(f'{key}="{value}"\n' for key, value in sorted(values.items()))
        else:
            text = field_value(pod, path) if path else ""
        files[item["path"]] = text.encode()
    return files


def _keys(resource: str, name_key: str, source: Body, lookup: Lookup) -> dict[str, bytes]:
    name = source.get(name_key, "")
    body = lookup(resource, name)
    if body is None:
        if source.get("optional"):
            return {}
        raise LabRefusal(f'{resource.removesuffix("s")} "{name}" not found')
    values = data_of(resource, body)
    if not source.get("items"):
        return values
    files = {}
    for item in source["items"]:
        if item["key"] in values:
            files[item["path"]] = values[item["key"]]
        elif not source.get("optional"):
            raise LabRefusal(f"{resource.removesuffix('s')} references non-existent config key: {item['key']}")
    return files


def file_mode(volume: Body) -> int:
    """The permissions of the volume's files (`defaultMode`)."""
    sources = (source for source in volume.values() if isinstance(source, Mapping))
    return next((int(source["defaultMode"]) for source in sources if "defaultMode" in source), 0o644)


def write_files(directory: Path, files: Files | None, mode: int = 0o644) -> None:
    """Put the files of a volume where the node keeps them, each whole at every moment; None: an empty directory."""
    directory.mkdir(parents=True, exist_ok=True)
    if files is None:
        directory.chmod(0o1777)
        return
    for relative, content in files.items():
        path = directory / relative
        if ".." in path.parts:
            raise LabRefusal(f"a volume's path must not contain '..': {relative}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() == content:
            continue
        beside = path.with_name(f".{path.name}.new")
        beside.write_bytes(content)
        beside.chmod(mode)
        beside.replace(path)
    for path in directory.rglob("*"):
        if path.is_file() and str(path.relative_to(directory)) not in files:
            path.unlink()


def container_mounts(container: Body, volumes: Path, writable: frozenset[str]) -> tuple[VolumeMount, ...]:
    """Where a container sees the volumes that the node keeps under `volumes/NAME`."""
    mounts = []
    for mount in container.get("volumeMounts") or ():
        if mount["mountPath"].rstrip("/") == TOKEN_DIRECTORY:
            continue
        source = os.path.join(volumes, mount["name"], mount.get("subPath") or "").rstrip("/")
        if not os.path.lexists(source):
            raise LabRefusal(
                f"container {container['name']}: there is no volume {mount['name']} with {mount.get('subPath') or 'files'}"
            )
        read_only = bool(mount.get("readOnly")) or mount["name"] not in writable
        mounts.append(VolumeMount(source, mount["mountPath"], read_only))
    return tuple(mounts)

"""Names that are never outside, with all that end in them; the cluster's own domain is read beside."""

from __future__ import annotations

INSIDE = {
    "svc": "Services: name.namespace.svc",
    "pod": "pods: 10-0-0-1.namespace.pod",
    "local": "the usual cluster domain, and mDNS (RFC 6762)",
    "default": "Services of the namespace default: kubernetes.default",
    "localhost": "this machine (RFC 6761)",
    "localdomain": "this machine, as older systems name it",
    "docker.internal": "the machine that the container runs on",
    "containers.internal": "the machine that the container runs on",
    "minikube.internal": "the machine that the node runs on",
    "metadata.google.internal": "the cloud's own metadata server, on this link",
    "home.arpa": "names of a home network (RFC 8375)",
    "invalid": "no host at all (RFC 6761)",
}

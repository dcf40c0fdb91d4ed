"""What the bench's API server serves: Deployments and their pods as a real cluster has them, managed fields included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

PER_NAMESPACE = 20
WHEN = "2026-03-01T08:00:00Z"
MESH = ("serviceentries", "destinationrules", "virtualservices", "sidecars", "envoyfilters")
KINDS = {
    "serviceentries": "ServiceEntry",
    "destinationrules": "DestinationRule",
    "virtualservices": "VirtualService",
    "sidecars": "Sidecar",
    "envoyfilters": "EnvoyFilter",
}


def namespace_of(number: int) -> str:
    """Which namespace the Deployment of this number is in."""
    return f"team-{number // PER_NAMESPACE:03}"


def _metadata(name: str, namespace: str, uid: str, manager: str, fields: Object, **more: Any) -> Object:
    return {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "uid": f"{uid}-0000-4000-8000-000000000000",
        "resourceVersion": "123456789",
        "creationTimestamp": WHEN,
        **more,
        "managedFields": [
            {
                "manager": manager,
                "operation": "Update",
                "apiVersion": "apps/v1",
                "time": WHEN,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            }
        ],
    }


def _fields(value: Any) -> Object:
    """What managed fields say of a value: the names of everything in it."""
    if isinstance(value, dict):
        return {f"f:{key}": _fields(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return {f'k:{{"name":"{one.get("name", number)}"}}': {".": {}, **_fields(one)} for number, one in enumerate(value)
                if isinstance(one, dict)}  # fmt: skip
    return {}


def _container(number: int) -> Object:
    """The application: one external call, one internal one, and what else an environment has."""
    env = [
        {"name": "API_URL", "value": f"https://api-{number % 50}.example.com/v1/orders"},
        {"name": "INVENTORY", "value": f"http://inventory.{namespace_of(number)}.svc.cluster.local:8080/"},
        {"name": "DATABASE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
        *({"name": f"SETTING_{index}", "value": f"value {index} of a setting that is no call"} for index in range(12)),
    ]
    return {
        "name": "app",
        "image": f"registry.example.com/shop/service-{number}:1.{number}",
        "env": env,
        "envFrom": [{"configMapRef": {"name": f"service-{number:04}"}}],
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }


def _spec(number: int) -> Object:
    return {
        "containers": [_container(number)],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "shop",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }


def _sidecar() -> Object:
    """istio-proxy as the injector leaves it."""
    env = [
        {"name": f"ISTIO_META_{index}", "value": f"a value of the proxy's own, number {index}"} for index in range(20)
    ]
    return {
        "name": "istio-proxy",
        "image": "docker.io/istio/proxyv2:1.31.0",
        "args": [
            "proxy",
            "sidecar",
            "--domain",
            "$(POD_NAMESPACE).svc.cluster.local",
            "--log_output_level=default:info",
        ],
        "env": env,
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [{"name": f"volume-{index}", "mountPath": f"/var/run/secrets/{index}"} for index in range(8)],
    }


def deployment(number: int) -> Object:
    """One Deployment of two pods."""
    name, labels = f"service-{number:04}", {"app": f"service-{number:04}", "app.kubernetes.io/name": "shop"}
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": {"app": name}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "template": {"metadata": {"labels": labels}, "spec": _spec(number)},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }
    return {
        "metadata": _metadata(
            name,
            namespace_of(number),
            f"d{number:07}",
            "kubectl-client-side-apply",
            _fields({"spec": spec}),
            labels=labels,
            generation=3,
            annotations={"deployment.kubernetes.io/revision": "3"},
        ),
        "spec": spec,
        "status": {
            "observedGeneration": 3,
            "replicas": 2,
            "updatedReplicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
            "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}],
        },
    }


def replica_sets(number: int) -> Iterator[Object]:
    """Three revisions of a Deployment, names and owners alone, as PartialObjectMetadata has them."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"service-{number:04}", "controller": True}
    for revision in range(3):
        yield {
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": _metadata(
                f"service-{number:04}-{revision}",
                namespace_of(number),
                f"r{revision}{number:06}",
                "kube-controller-manager",
                {"f:spec": {}},
                ownerReferences=[owner],
            ),
        }


def pods(number: int) -> Iterator[Object]:
    """The two pods of a Deployment, which run."""
    replica_set = f"service-{number:04}-2"
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set, "controller": True, "uid": "x"}
    spec = _spec(number)
    volumes = [{"name": f"volume-{index}", "emptyDir": {"medium": "Memory"}} for index in range(8)]
    spec |= {"containers": [*spec["containers"], _sidecar()], "volumes": volumes, "nodeName": f"node-{number % 40}"}
    state = {"running": {"startedAt": WHEN}}
    status = {
        "phase": "Running",
        "podIP": f"10.{number % 250}.{number // 250}.7",
        "podIPs": [{"ip": f"10.{number % 250}.{number // 250}.7"}],
        "conditions": [
            {"type": name, "status": "True", "lastTransitionTime": WHEN} for name in ("Ready", "Initialized")
        ],
        "containerStatuses": [
            {
                "name": one["name"],
                "image": one["image"],
                "imageID": f"{one['image']}@sha256:{'0' * 64}",
                "containerID": f"containerd://{'1' * 64}",
                "ready": True,
                "restartCount": 0,
                "started": True,
                "state": state,
            }
            for one in spec["containers"]
        ],
    }
    for index in range(2):
        labels = {"app": f"service-{number:04}", "pod-template-hash": "2", "security.istio.io/tlsMode": "istio"}
        yield {
            "metadata": _metadata(
                f"{replica_set}-{index}",
                namespace_of(number),
                f"p{index}{number:06}",
                "kubelet",
                _fields({"spec": spec, "status": status}),
                labels=labels,
                ownerReferences=[owner],
                annotations={"istio.io/rev": "default", "sidecar.istio.io/status": '{"initContainers":null}'},
            ),
            "spec": spec,
            "status": status,
        }


def config_map(number: int) -> Object:
    """What a Deployment reads by `envFrom`."""
    data = {
        "CACHE": "redis:6379",
        "PAY_URL": f"https://pay-{number % 7}.example.com/",
        "notes": "nothing to see here " * 20,
    }
    return {
        "metadata": _metadata(f"service-{number:04}", namespace_of(number), f"c{number:07}", "kubectl", _fields(data)),
        "data": data,
    }


def namespace(index: int) -> Object:
    """A namespace whose pods get sidecars."""
    labels = {"istio-injection": "enabled", "kubernetes.io/metadata.name": f"team-{index:03}"}
    return {
        "metadata": _metadata(f"team-{index:03}", "", f"n{index:07}", "kubectl", {}, labels=labels),
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def mesh_objects(plural: str, namespaces: int) -> Iterator[Object]:
    """One ServiceEntry in each namespace; nothing of the other kinds."""
    for index in range(namespaces if plural == "serviceentries" else 0):
        spec = {
            "hosts": [f"named-{index}.example.com"],
            "exportTo": ["."],
            "location": "MESH_EXTERNAL",
            "resolution": "DNS",
            "ports": [{"number": 443, "name": "https", "protocol": "HTTPS"}],
        }
        yield {
            "apiVersion": "networking.istio.io/v1",
            "kind": KINDS[plural],
            "metadata": _metadata("named", f"team-{index:03}", f"s{index:07}", "kubectl", _fields(spec)),
            "spec": spec,
        }

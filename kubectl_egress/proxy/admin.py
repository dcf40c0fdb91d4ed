"""The admin paths to ask, and their texts together as one ProxySnapshot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from kubectl_egress.errors import EgressError
from kubectl_egress.model import Body, ProxySnapshot, Ref
from kubectl_egress.proxy import exposition
from kubectl_egress.proxy.configuration import catch_all, upstreams, virtual_hosts

# Istio's own clusters for what no service entry names; the third since Istio 1.31 (outboundTrafficPolicy ALLOW_ANY_DYNAMIC_DNS).
_CATCH_ALL = ("PassthroughCluster", "BlackHoleCluster", "AllowAnyDynamicDNSCluster")

# Characters of a pattern, beside its own `.*( )`, and of one name in it, dots counted threefold as `[.]`.
_BUDGET = 80
_LONGEST = 40
# Characters of all hosts together, above which asking for everything is less than naming them: a request line has its limit.
_MANY = 2000

_CLUSTERS = "/clusters?format=json"
_CONFIGURATION = "/config_dump?resource="
_ACTIVE_CLUSTERS = f"{_CONFIGURATION}dynamic_active_clusters"
_ROUTES = f"{_CONFIGURATION}dynamic_route_configs"
_LISTENERS = f"{_CONFIGURATION}dynamic_listeners"
_STATISTICS = "/stats/prometheus?usedonly"
_SERVER = "/server_info"

_REQUESTS = "istio_(requests_total|tcp_connections_(opened|closed)_total)"
_DURATIONS = "istio_request_duration_milliseconds"
# server.uptime in place of /server_info, which is 124 kB of the names of Envoy's extensions.
_PROCESS = "server.uptime|istio_build"


def admin_paths(hosts: Sequence[str] | None, *, overview: bool = False) -> tuple[str, ...]:
    """The admin paths whose texts `snapshot` wants; None: everything outbound, which of a large mesh is a great deal.

    `overview`: what `inspect` shows, the listeners' last resort and no latencies; always so of everything. `hosts` as `str(Host)`: a name, `*.name`, or either with `:port`. The paths are to be sent as they are: they hold no
    character that needs quoting, since not every Envoy decodes every query. A little more than was asked for may come
    back; what reads it looks at exact names.
    """
    if hosts is not None and sum(map(len, hosts)) > _MANY:
        ports = sorted({host[host.index(":") :] for host in hosts if ":" in host})
        return admin_paths(["*", *ports], overview=overview)
    overview = overview or hosts is None
    named = ["outbound"] if hosts is None else [f"outbound.*{name}" for name in _names(hosts)]
    clusters = "|".join([*_CATCH_ALL, *named])
    return (
        # First: what has ended by now was sent before now, so the endpoints that come next have counted it.
        f"{_STATISTICS}&filter={_statistics_filter(hosts, latencies=not overview)}",
        f"{_CLUSTERS}&filter={clusters}",  # Envoy that does not know the filter yet answers with all
        *(f"{_ACTIVE_CLUSTERS}&name_regex={pattern}" for pattern in _cluster_patterns(hosts)),
        f"{_ROUTES}&name_regex=({'|'.join(_route_tables(hosts))})",
        *([f"{_LISTENERS}&name_regex=virtualOutbound"] if overview else []),
    )


def _cluster_patterns(hosts: Sequence[str] | None) -> list[str]:
    """Patterns for whole names, each below the 100 instructions that Envoy allows unless it is told otherwise.

    An instruction for each character, a few for `.*` and each alternative (measured: 126 for `.*` and 120 letters).
    """
    if hosts is None:
        return ["(.*Cluster|outbound.*)"]
    batches = [["Cluster"]]
    for ending in dict.fromkeys(name[-_LONGEST:].replace(".", "[.]") for name in _names(hosts)):
        if sum(len(one) + 2 for one in [*batches[-1], ending]) > _BUDGET:
            batches.append([])
        batches[-1].append(ending)
    return [f".*({'|'.join(batch)})" for batch in batches]


def _route_tables(hosts: Sequence[str] | None) -> list[str]:
    """Route tables are named for the port that the application calls."""
    ports = {host.rpartition(":")[2] for host in hosts or () if ":" in host}
    return ["80", *sorted(ports - {"80", "443"})]


def _statistics_filter(hosts: Sequence[str] | None, *, latencies: bool) -> str:
    """The filter sees the name joined with all tags; before istio.stats was native, the tags stood in front."""
    if hosts is None:
        return f"{_REQUESTS}|{_PROCESS}"
    names = "|".join(_names(hosts))
    wanted = "|".join([*_CATCH_ALL, *_names(hosts)])
    both = [f"{_REQUESTS}.*({wanted})|({wanted}).*{_REQUESTS}"]
    both += [f"{_DURATIONS}.*({names})|({names}).*{_DURATIONS}"] if hosts and latencies else []
    return "|".join([*both, _PROCESS])


def _names(hosts: Sequence[str]) -> list[str]:
    """How the names end that the hosts stand for, each once; '' for any."""
    return list(dict.fromkeys(host.partition(":")[0].removeprefix("*") for host in hosts))


def snapshot(pod: Ref, texts: Mapping[str, str], taken_at: float) -> ProxySnapshot:
    """Read the texts, by the path that was asked, of one sidecar; `taken_at` in seconds of a monotonic clock.

    Raises EgressError for a text that is not what its path gives, and for a path that was not asked.
    """
    statistics = exposition.read(_text(pod, texts, _STATISTICS))
    server = _json(pod, texts, _SERVER) if _asked(texts, _SERVER) else {}
    return ProxySnapshot(
        pod=pod,
        taken_at=taken_at,
        upstreams=upstreams(_dumps(pod, texts, _ACTIVE_CLUSTERS), _json(pod, texts, _CLUSTERS)),
        virtual_hosts=virtual_hosts(_json(pod, texts, _ROUTES)),
        requests=statistics.requests,
        durations=statistics.durations,
        tcp=statistics.tcp,
        version=server.get("version", "") or statistics.version,
        uptime=float(server.get("uptime_current_epoch", "0s").rstrip("s")) or statistics.uptime,
        istio_series=statistics.istio_series,
        catch_all=catch_all(_json(pod, texts, _LISTENERS)) if _asked(texts, _LISTENERS) else "",
    )


def _asked(paths: Iterable[str], beginning: str) -> str:
    return next((path for path in paths if path.startswith(beginning)), "")


def _text(pod: Ref, texts: Mapping[str, str], beginning: str) -> str:
    path = _asked(texts, beginning)
    if not path:
        raise EgressError(f"the proxy of pod {pod.namespace}/{pod.name} was not asked for {beginning}")
    if path.startswith(_STATISTICS) and not exposition.recognised(texts[path]):
        raise _unreadable(pod, path)
    return texts[path]


def _json(pod: Ref, texts: Mapping[str, str], beginning: str) -> Body:
    _text(pod, texts, beginning)
    return _parsed(pod, texts, _asked(texts, beginning))


def _dumps(pod: Ref, texts: Mapping[str, str], beginning: str) -> list[Body]:
    """The answers to all paths with this beginning."""
    _text(pod, texts, beginning)
    return [_parsed(pod, texts, path) for path in texts if path.startswith(beginning)]


def _parsed(pod: Ref, texts: Mapping[str, str], path: str) -> Body:
    if texts[path].rstrip().endswith("not found in config dump"):  # the 404 where it has none of a kind
        return {}
    try:
        body = json.loads(texts[path])
    except ValueError as error:
        raise _unreadable(pod, path) from error
    if not isinstance(body, dict):
        raise _unreadable(pod, path)
    return body


def _unreadable(pod: Ref, path: str) -> EgressError:
    return EgressError(
        f"the proxy of pod {pod.namespace}/{pod.name} answered {path.partition('?')[0]} with something that is not its format",
        f"see what it says: kubectl exec -n {pod.namespace} {pod.name} -c istio-proxy -- pilot-agent request GET '{path.lstrip('/')}'",
    )

"""Graphs for tests of their pictures: every visibility, every health, and as many hosts as one likes."""

from __future__ import annotations

from kubectl_egress.graph import Edge, Flow, Graph
from kubectl_egress.model import Host, Ref, Visibility

SECONDS = 10.0


def edge(
    workload: str,
    host: str | None,
    visibility: Visibility = Visibility.FULL,
    *,
    codes: dict[str, int] | None = None,
    connections: int = 0,
    blocked: int = 0,
    in_clear: int = 0,
    p95: float | None = None,
    **more: object,
) -> Edge:
    """An edge with the flow that the numbers say, or without one."""
    ref = Ref("Deployment", "shop", workload, "apps/v1")
    name = Host(host) if host else None
    requests = sum((codes or {}).values())
    flow = Flow(ref, name, SECONDS, requests, codes or {}, connections, blocked, in_clear, p95)
    seen = requests or connections or blocked or in_clear
    return Edge(ref, name, visibility, flow if seen else None, **{"call_sites": 1, **more})  # type: ignore[arg-type]


def graph_of(*edges: Edge) -> Graph:
    return Graph("shop", edges, SECONDS, "the proxies", "2026-01-01T00:00:00+00:00", (), len(edges))


ONE = graph_of(edge("curl", "httpbin.org", codes={"200": 50}, p95=12.3, migrated=True, fails_closed=True))

EVERY_STATE = graph_of(
    edge("cart", "api.example.com", codes={"200": 95, "503": 5}, p95=310.0, migrated=True, fails_closed=True),
    edge("cart", "payments.example.org", codes={"503": 30, "200": 10}, p95=2100.0, migrated=True, fails_closed=True),
    edge("cart", None, Visibility.OPAQUE, connections=14),
    edge("curl", "httpbin.org", codes={"200": 50}, p95=12.3, migrated=True, fails_closed=True),
    edge("mailer", "smtp.example.net", Visibility.NAMED, connections=3),
    edge("mailer", "tracker.example.net", Visibility.BLOCKED, blocked=9),
    edge("old", "httpbin.org", codes={"200": 4}, in_clear=2),
    edge("quiet", "never.example.com", Visibility.OPAQUE, findings=("own-trust",)),
    edge("unseen", "dark.example.com", Visibility.UNKNOWN),
)


def many(hosts: int, workloads: int = 12) -> Graph:
    """A big shop: every workload calls some hosts, in every state."""
    states = (Visibility.FULL, Visibility.FULL, Visibility.NAMED, Visibility.OPAQUE, Visibility.FULL)
    return graph_of(
        *(
            edge(
                f"service-{number * 7 % workloads:02}",
                f"api-{number:02}.partner-{number % 9}.example.com",
                states[number % 5],
                codes={"200": 10 + number * 3, "500": number % 4} if states[number % 5] is Visibility.FULL else None,
                connections=0 if states[number % 5] is Visibility.FULL else number + 1,
                p95=float(5 + number * 9) if states[number % 5] is Visibility.FULL else None,
            )
            for number in range(hosts)
        ),
        *(
            edge(f"service-{number:02}", "api-00.partner-0.example.com", codes={"200": 5}, p95=8.0)
            for number in range(1, 5)
        ),
    )


def crowd(workloads: int = 30, hosts: int = 15) -> Graph:
    """A namespace in which everybody calls three hosts, most of them the same."""
    states = (Visibility.FULL, Visibility.FULL, Visibility.NAMED, Visibility.FULL, Visibility.OPAQUE)
    pairs = sorted({(one, one * step * step % hosts) for one in range(workloads) for step in (1, 2, 3)})
    return graph_of(
        *(
            edge(
                f"service-{one:02}",
                f"api-{host:02}.partner-{host % 4}.example.com",
                states[host % 5],
                codes={"200": 20 + one * 3, **({"503": host} if host % 6 == 5 else {})}
                if states[host % 5] == "full"
                else None,
                connections=0 if states[host % 5] == "full" else one + 1,
                p95=5.0 + 9 * host if states[host % 5] == "full" else None,
            )
            for one, host in pairs
        )
    )

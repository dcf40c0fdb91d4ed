"""The catalogue's rows of findings that warn."""

from __future__ import annotations

from kubectl_egress.findings import access, aliases, protocols, sources, warnings
from kubectl_egress.findings.row import Row
from kubectl_egress.findings.scope import by_caller
from kubectl_egress.model import Severity

WARN = Severity.WARN

WARNING_ROWS = (
    Row(
        "https-redirect",
        WARN,
        "client or server insist on https",
        "The host has answered plain HTTP from these pods by a redirect, or curl calls it with --hsts, or with a --proto that "
        "leaves http out (which blocks: the command would fail).",
        "The route sends x-forwarded-proto: https, so that most servers do not redirect. One that does would lead the client "
        "back to https://: its calls then work, and the mesh sees no more of them than before.",
        "Take --proto and --hsts out of the command; look at where the redirect leads.",
        by_caller(protocols.https_redirect),
        ignorable=True,
    ),
    Row(
        "needs-http2",
        WARN,
        "the client asks the host for HTTP/2",
        "curl --http2, a gRPC client, or a grpc:// or dns:/// target with the host's name.",
        "The sidecar speaks HTTP/1.1 to a server unless it is told otherwise; gRPC does not work over it.",
        "Migrate with --http2, which lets the sidecar speak HTTP/2 to the server.",
        by_caller(protocols.needs_http2),
        ignorable=True,
    ),
    Row(
        "old-protocol",
        WARN,
        "client or server speak a protocol that the sidecar does not",
        "HTTP/1.0 (curl -0, ab), or TLS below 1.2 (--tls-max, -Dhttps.protocols).",
        "Envoy answers HTTP/1.0 with 426, and offers servers TLS 1.2 and 1.3.",
        "Let the client speak HTTP/1.1; see that the server speaks TLS 1.2.",
        by_caller(protocols.old_protocol),
        ignorable=True,
    ),
    Row(
        "plain-callers",
        WARN,
        "a workload calls the host over http:// today",
        "The URL is http://HOST in a workload that no run has migrated.",
        "The entry is seen by the whole namespace: these calls will go to the server's TLS port too.",
        "See that the caller expects what the server says over https. Nothing has to be done for its safety.",
        warnings.plain_callers,
        ignorable=True,
    ),
    Row(
        "shared-source",
        WARN,
        "another workload reads the URL from the same object",
        "The URL stands in a Secret that pods of another workload read too, one that was not asked for included. Of a ConfigMap it "
        "only informs. Both are copied for the workload that is migrated (Secrets with --include-secrets alone).",
        "Whoever renews the Secret renews it for the other workload: the copy keeps the old credentials until the host is undone "
        "and migrated anew. kubectl egress list says when the original has changed.",
        "Migrate both together, or give each of them a Secret of its own.",
        warnings.shared_source,
        ignorable=True,
    ),
    Row(
        "secret-in-url",
        WARN,
        "a URL has what looks like a credential in its path or query",
        "A query parameter has a name like token, key or signature.",
        "While the application encrypted, no log of the mesh had the URL. From now on the sidecar's access log has it.",
        "Send the credential in a header, or leave path and query out of the access log's format.",
        by_caller(warnings.secret_in_url),
        ignorable=True,
    ),
    Row(
        "looks-like-identifier",
        WARN,
        "a string looks like a call and is none",
        "The URL is named like an OIDC issuer, an audience, a redirect or webhook URL, the application's own public URL, an "
        "origin, a link, documentation, or a schema. docs/what-is-found.md has the table.",
        "Rewritten, an issuer would match no token any more, and a browser or a partner would be sent to http://.",
        "Nothing, if that is what it is. If the pod calls it, say so: --force HOST=PATH, or the annotation egress.kubectl/calls: "
        "HOST on the workload or its pod template.",
        sources.looks_like_identifier,
        ignorable=True,
        changes=True,
    ),
    Row(
        "sidecar-unread",
        WARN,
        "a sidecar does not answer",
        "Port-forward and exec were tried, and neither gave what the sidecar's admin port says: it is not running, does not "
        "answer in time, or another program listens there.",
        "What its pod calls beyond the spec, and how well the mesh sees it, is not known. A migration of its workload would "
        "wait for it in vain, and does not begin.",
        "See why with kubectl logs POD -c istio-proxy; kubectl delete pod POD makes a new one.",
        access.sidecar_unread,
    ),
    Row(
        "alias-refused",
        WARN,
        "the API may refuse the host alias",
        "The caller is a Knative Service whose template has no hostAliases yet.",
        "Knative's admission takes hostAliases only where the flag kubernetes.podspec-hostaliases of its ConfigMap config-features is "
        "on, which it is not by default. In a cluster the migration is then undone; in Git, the manifest is refused.",
        "Have the flag enabled, or migrate with --fail-open, which leaves the alias out.",
        by_caller(aliases.alias_refused),
        ignorable=True,
        changes=True,
    ),
    Row(
        "ambient",
        WARN,
        "the workload is in an ambient mesh",
        "The namespace or the pod template has the label istio.io/dataplane-mode: ambient.",
        "ztunnel sees TCP and originates no TLS; a sidecar or a waypoint does.",
        "Give the workload a sidecar, or originate TLS in a waypoint by hand.",
        by_caller(warnings.ambient),
        ignorable=True,
    ),
)

"""The catalogue's rows: a finding joins by a row here (or in `warning_rows`) and a function beside it."""

from __future__ import annotations

from kubectl_egress.findings import (
    access,
    aliases,
    application,
    guarding,
    interception,
    mesh_conflicts,
    ownership,
    ports,
    redirection,
    rewriting,
    sources,
    wire,
)
from kubectl_egress.findings.row import Row
from kubectl_egress.findings.scope import by_caller
from kubectl_egress.findings.warning_rows import WARNING_ROWS
from kubectl_egress.model import Severity

BLOCK = Severity.BLOCK
ROWS = (
    Row(
        "no-sidecar",
        BLOCK,
        "the workload's pods run without a sidecar",
        "A running pod has no container istio-proxy (nor an init container of that name that stays), or label, annotation, "
        "namespace or the injector's policy say that the next one will not have it; or no sidecar of it is ready.",
        "Only the sidecar turns http:// into TLS. Without it, the calls would leave in clear or, with the host alias, fail.",
        'Label the namespace istio-injection=enabled (or istio.io/rev=REVISION), remove sidecar.istio.io/inject: "false" from '
        "the pod template, restart the workload, and look at the pods: kubectl get pods shows one container more.",
        by_caller(interception.no_sidecar),
    ),
    Row(
        "not-intercepted",
        BLOCK,
        "the pods' traffic passes the sidecar by",
        "Interception is off (interceptionMode NONE, excludeInterfaces), the pod uses the node's network (hostNetwork), or a "
        "container runs as user or group 1337, whose traffic is taken for the sidecar's own.",
        "What is not redirected to the sidecar cannot be encrypted by it.",
        "Set the interception mode to REDIRECT, give the container another user, or leave the workload on https.",
        by_caller(interception.not_intercepted),
    ),
    Row(
        "port-not-captured",
        BLOCK,
        "port 80, port 443 or the alias's address is left out of the redirect",
        "The annotations traffic.sidecar.istio.io/{exclude,include}Outbound{Ports,IPRanges} of the pod template, their "
        "mesh-wide counterparts in global.proxy, or the arguments of istio-init in a pod that runs leave out a port or an "
        "address that the calls will use. Or a pod has IPv4 and IPv6, of which Istio redirects IPv4 alone unless "
        "ISTIO_DUAL_STACK is set: that blocks with --fail-open, and else only warns, since the alias of that family leads "
        "nowhere.",
        "Those calls would leave the pod without the sidecar: in clear, or, with the host alias, to nowhere.",
        "Take 80 and 443 out of the excluded ports; let the included ranges hold 192.0.2.0/24, the network of the aliases.",
        by_caller(redirection.port_not_captured),
    ),
    Row(
        "host-not-visible",
        BLOCK,
        "the workload's proxy would not see the host",
        "A Sidecar object shows the proxy other hosts only, or has a listener of its own on port 80; or the ServiceEntry is "
        "not exported to the namespace.",
        "A proxy that does not know the host has no route to it that originates TLS.",
        "Add ./HOST to the egress hosts of the Sidecar, or . to the exportTo of the entry.",
        mesh_conflicts.host_not_visible,
    ),
    Row(
        "rule-shadowed",
        BLOCK,
        "another DestinationRule for the host is, or would be, in effect",
        "The namespace has another DestinationRule that names the host and says something else of port 80, or holds for some "
        "workloads only, or is older.",
        "Of several rules for a host, the oldest gives the policy; if it has no TLS settings for port 80, requests go to port "
        "443 in clear as soon as the route is missing, and with a newer one Istio may answer 503.",
        "Merge the two and delete one, or make the other fit: then migrate takes it over, field by field.",
        mesh_conflicts.rule_shadowed,
    ),
    Row(
        "entry-conflict",
        BLOCK,
        "another ServiceEntry contradicts the one that is needed",
        "An entry for the same host has other protocols, ports, endpoints or resolution; or an entry of another host claims "
        "the alias's address, or all of port 80 as TCP.",
        "Of several entries for a host, one wins, and its ports alone are known; an entry that claims the address by TCP sends "
        "the request elsewhere, in clear.",
        "Change or delete the other entry. One that lacks nothing but fields is taken over, field by field.",
        mesh_conflicts.entry_conflict,
    ),
    Row(
        "route-conflict",
        BLOCK,
        "a VirtualService routes the host already",
        "A VirtualService that sidecars use (gateways missing, or with mesh) names the host and has http or tcp routes.",
        "Sidecars use one VirtualService for a host. If it is the other one, the calls go where that says, and not to the "
        "cluster that originates TLS.",
        "Take the host out of it, or bind it to gateways alone.",
        mesh_conflicts.route_conflict,
    ),
    Row(
        "init-before-sidecar",
        BLOCK,
        "an init container calls the host before the sidecar runs",
        "The URL stands in an init container, and istio-proxy starts after it, as an ordinary container does.",
        "At that time nothing originates TLS: the call would fail, or leave in clear where the redirect is not there yet.",
        'Run the sidecar as a native one (sidecar.istio.io/nativeSidecar: "true"), or move the call.',
        by_caller(interception.init_before_sidecar),
    ),
    Row(
        "other-port",
        BLOCK,
        "the workload uses the host on another port too",
        "A URL http://HOST:PORT with a port other than 80, TLS on port 80, or another string of the pod template that names the "
        "host with a port. Other ports of https:// are no finding: the entry has them too.",
        "The host alias sends the name to an address that leads nowhere, on every port; the mesh knows port 80 and those of https:// alone.",
        "Split that call off into another workload, or migrate with --fail-open, which leaves the alias out.",
        by_caller(aliases.other_port),
    ),
    Row(
        "two-ports",
        BLOCK,
        "the host is called at two ports over TLS, and only one can be migrated",
        "URLs https://HOST and https://HOST:8443 of one namespace are to be migrated, or one of them is; or the port is 80, or "
        "another than 443 of a wildcard.",
        "The URL loses its port with the scheme: http://HOST is port 80 of the name, and the mesh leads that to one port of the server.",
        "Migrate the one that matters by its name and port: kubectl egress migrate HOST:8443. The other stays on https, and its calls go on.",
        by_caller(ports.two_ports),
    ),
    Row(
        "host-aliased",
        BLOCK,
        "the pods' hosts file already says something of the host",
        "hostAliases of the pod template name the host with an address that is not ours, or a container mounts /etc/hosts.",
        "The alias that makes the migration fail closed could not be set, or would not be read.",
        "Remove the entry or the mount, or migrate with --fail-open, which leaves the alias out.",
        by_caller(aliases.host_aliased),
    ),
    Row(
        "proxy-needs-host",
        BLOCK,
        "the sidecar itself resolves the host for something else",
        "A cluster of the sidecar that is none of the host's own (tracing, authorization, a Wasm module) has it as an address.",
        "The pod's hosts file, alias included, is the sidecar's too: that cluster would lead nowhere.",
        "Write the name with a final dot there, or migrate with --fail-open, which leaves the alias out.",
        by_caller(aliases.proxy_needs_host),
    ),
    Row(
        "own-proxy",
        BLOCK,
        "the application sends its calls through a proxy of its own",
        "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY (in either case), -Dhttp.proxyHost, or curl -x applies to the host.",
        "With https:// that proxy saw a tunnel; http:// would hand it the whole request, in clear.",
        "Add the host to NO_PROXY (-Dhttp.nonProxyHosts), or leave the workload on https.",
        by_caller(application.own_proxy),
    ),
    Row(
        "own-trust",
        BLOCK,
        "the application trusts CAs of its own, or checks no certificate",
        "SSL_CERT_FILE and its like, javax.net.ssl.trustStore, --cacert, or -k stand where the host is called.",
        "The sidecar checks by the public CAs of its own image: less strict than one private CA, more strict than none.",
        "Remove the setting if public CAs vouch for the host; otherwise name the CAs: --ca FILE or configmap/NAME.",
        by_caller(application.own_trust),
    ),
    Row(
        "client-certificate",
        BLOCK,
        "the application shows the host a client certificate",
        "curl --cert, wget --certificate or javax.net.ssl.keyStore stands where the host is called.",
        "The sidecar does not have that certificate, and the server would refuse it.",
        "Put it into a Secret of type kubernetes.io/tls and name that: --client-secret NAME; or leave the workload on https.",
        by_caller(application.client_certificate),
    ),
    Row(
        "fails-open",
        BLOCK,
        "it cannot be had that nothing leaves in clear without the sidecar",
        "The host is a wildcard, which no hosts file knows, the mesh resolves unknown hosts itself (ALLOW_ANY_DYNAMIC_DNS), "
        "a command does (curl --resolve, --connect-to, --doh-url), or Knative refuses hostAliases (its feature "
        "kubernetes.podspec-hostaliases; where that could not be read, it only warns).",
        "A migration fails closed because the application's own resolver leads nowhere. Where it does not, a pod without its "
        "sidecar sends in clear.",
        "Migrate the hosts by name, enable Knative's feature; or accept it by name, with --fail-open. With --guard, a NetworkPolicy keeps the pods from "
        "port 80 outside the cluster, unless another policy lets them go there.",
        aliases.fails_open,
    ),
    Row(
        "guard-cuts",
        BLOCK,
        "the guard would cut off calls that the workload makes in clear today",
        "With --guard: a URL http://OTHER in the workload, or connections of its sidecar to port 80 of a public address.",
        "The guard lets its pods reach port 80 inside the cluster alone; these calls would fail from then on.",
        "Migrate those hosts too, or leave --guard out.",
        by_caller(guarding.guard_cuts),
        ignorable=True,
        changes=True,
    ),
    Row(
        "gitops-owned",
        BLOCK,
        "something else writes the object, and will take the patch back",
        "Labels, annotations, field managers or owner references say that Argo CD, Flux, Helm, kapp or an operator applies it; or "
        "the URL is in a Secret that External Secrets, Sealed Secrets, Vault's operator or another owner renews.",
        "At its next run the source wins: the workload is back on https, and restarts once more. Of a Secret, the pods would read "
        "a copy, which nobody renews.",
        "Change the source: kubectl egress migrate HOST -f DIR --write, then commit.",
        ownership.gitops_owned,
        ignorable=True,
        changes=True,
    ),
    Row(
        "template-immutable",
        BLOCK,
        "the pod template cannot be changed",
        "The API refuses another pod template for a Job.",
        "The URLs stand in the template; a Job has to be made anew.",
        "Change the manifest (-f FILE --write) and create the Job again: kubectl replace --force -f FILE.",
        by_caller(rewriting.template_immutable),
        ignorable=True,
        changes=True,
    ),
    Row(
        "not-rolled",
        BLOCK,
        "running pods would not get the change",
        "The update strategy is OnDelete or has a partition, the workload is a ReplicaSet of its own, or its last rollout "
        "did not succeed. One that is still under way only warns; of Jobs that run now it only informs.",
        "The migration ends when no pod has the old template; here, somebody would have to delete them.",
        "Set the strategy to RollingUpdate without a partition, or put a Deployment in the ReplicaSet's place.",
        by_caller(rewriting.not_rolled),
        ignorable=True,
        changes=True,
    ),
    Row(
        "rollout-paused",
        BLOCK,
        "the Deployment is paused",
        "spec.paused is true.",
        "No pod would get the new URLs, and the migration would wait in vain.",
        "kubectl rollout resume deployment/NAME",
        by_caller(rewriting.rollout_paused),
        ignorable=True,
        changes=True,
    ),
    Row(
        "not-rewritable",
        BLOCK,
        "a URL of the host cannot be changed by a plan",
        "It is composed of several settings, speaks TLS on port 80, is no external name, or the like; the message says "
        "which. Where other URLs of the host in the workload can be changed it only warns; of a comment, of what the "
        "kubelet calls itself, and of settings whose value is in a Secret that is not read, it only informs.",
        "The call stays on https. It goes on working, and the mesh goes on seeing no more than its host.",
        "Change the string by hand where the message says, or leave it.",
        sources.not_rewritable,
        ignorable=True,
        changes=True,
    ),
    Row(
        "live-only",
        BLOCK,
        "the pods go somewhere that stands nowhere we can read",
        "A sidecar has sent connections or requests to a host whose name it knows (by its own cluster, by the SNI in its access "
        "log, or by the Host header of plain HTTP), and no spec that is read has that name. Of an address without a name it only "
        "warns, and only where every host that is called on that port resolves, from this machine, to something else.",
        "What calls the host is in a Secret, in the image, or in what the program reads elsewhere: no plan can change it, and the "
        "host would stay on https.",
        "Find what holds the URL, and put it where it can be read (env, a ConfigMap); --path adds a place to look at.",
        wire.live_only,
    ),
    Row(
        "no-permission",
        BLOCK,
        "something may not be read, or not be written",
        "The API refused a read, or does not have the resource. What the plan cannot do without blocks (pods, ConfigMaps, "
        "ServiceEntries, DestinationRules, VirtualServices of the namespace); the rest warns. Or the API server says that it "
        "would refuse a write of this migration, or of its undo.",
        "A conflict that is not seen cannot be reported; and a migration that may not take back what it may create would stop "
        "half-way.",
        "Ask for the permission that the message names; kubectl auth can-i VERB RESOURCE -n NAMESPACE checks it.",
        access.no_permission,
    ),
    *WARNING_ROWS,
)

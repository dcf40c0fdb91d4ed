"""Strings that look like calls and are none, those that are calls all the same first."""

from __future__ import annotations

import pytest

from kubectl_egress.findings import check
from kubectl_egress.places import Forced, parse_forced
from kubectl_egress.scan import scan
from kubectl_egress.scan.identifiers import REASONS, RULES, identifier
from kubectl_egress.scan.naming import Name, name_of
from tests.build import config_map, config_maps, container, deployment, document
from tests.build_mesh import survey_of

URL = "https://api.example.com/v1"

# Each is a whole string as it stands in an env value, an argument or a file; the last URL of it is the one in question.
CALLS = [
    "https://api.example.com/v1",
    "API_URL=https://api.example.com",
    "API_BASE_URL=https://api.example.com",
    "SLACK_WEBHOOK_URL=https://hooks.slack.com/services/T0/B0/x",
    "webhook: https://discord.com/api/webhooks/1/x",
    "SCHEMA_REGISTRY_URL=https://registry.example.com",
    "AUTH_SERVICE_URL=https://auth.example.com",
    "OS_AUTH_URL=https://keystone.example.com/v3",
    "token_url: https://idp.example.com/token",
    "token-uri: https://idp.example.com/token",
    "TOKEN_URI=https://idp.example.com/token",
    "--oidc-jwks-url=https://idp.example.com/keys",
    "--redeem-url=https://idp.example.com/token",
    "userinfo_endpoint: https://idp.example.com/me",
    "EXTERNAL_API_URL=https://api.example.com",
    "DOCS_API_URL=https://docs.example.com",
    "IMAGE_SERVICE_URL=https://images.example.com",
    "SUPPORT_API=https://support.example.com/api",
    "curl -fsS https://api.example.com/health",
    "curl -H 'Accept: */*' https://api.example.com",
    "curl --data @x https://api.example.com/redirect",
    "https://api.example.com/?redirect_uri=https://shop.example.com/",
    "NEXTCLOUD_URL=https://cloud.example.com",
    "https://www.googleapis.com/storage/v1",
    "https://www.w3.org/services",
    '{"issuer": "x", "url": "https://api.example.com"}',
    "issuer: x\nurl: https://api.example.com",
    "redirects:\n  - x\napi: https://api.example.com",
    "shop:\n  url: https://api.example.com",
    "TARGET=https://api.example.com",
    "curl --target https://api.example.com",
    "client.id=shop\nschema.registry.url=https://registry.example.com",
    "gitlab:\n  clientID: x\n  apiURL: https://api.example.com",
    "gitlab:\n  clientID: x\n  tokenURL: https://api.example.com/token",
    "gitlab:\n  clientID: x\nshop:\n  baseURL: https://api.example.com",
    "- clientID: x\n- baseURL: https://api.example.com",
    '{"gitlab": {"clientID": "x"}, "shop": {"baseURL": "https://api.example.com"}}',
    "[gitlab]\nclient_id = x\n[shop]\nurl = https://api.example.com",
    "export CLIENT_ID=x\nexport PAYMENTS_URL=https://api.example.com",
    "http.client=okhttp\nurl=https://api.example.com",
    "client: okhttp\nurl: https://api.example.com",
]

NONE = {
    "an OIDC issuer": [
        "OIDC_ISSUER=https://idp.example.com/realms/shop",
        "--oidc-issuer-url=https://idp.example.com",
        "spring.security.oauth2.resourceserver.jwt.issuer-uri=https://idp.example.com",
        '{"issuer": "https://idp.example.com"}',
        "issuer:\n  url: https://idp.example.com",
        "<issuer>https://idp.example.com",
        '"iss" : "https://idp.example.com"',
        "java -Doidc.issuer=https://idp.example.com -jar x",
        "Authentication__Authority=https://idp.example.com",
        '"auth-server-url": "https://idp.example.com/auth"',
    ],
    "an audience": [
        "AUTH0_AUDIENCE=https://api.example.com",
        'audience: ["https://api.example.com", "https://b.example.com"]',
        "scope=https://www.googleapis.com/auth/cloud-platform",
        "x https://www.googleapis.com/auth/drive",
        "https://management.azure.com/.default",
        "SAML_ENTITY_ID=https://shop.example.com/saml",
        "claims_namespace: https://hasura.io/jwt/claims",
    ],
    "a redirect": [
        "--redirect-url=https://shop.example.com/oauth2/callback",
        "redirectURIs:\n- https://shop.example.com/callback",
        '"redirect_uris": ["https://a.example.com", "https://b.example.com"]',
        "REDIRECT_URIS=https://a.example.com,https://b.example.com",
        "OAUTH_CALLBACK_URL=https://shop.example.com",
        "success_url: https://shop.example.com/thanks",
    ],
    "a webhook": ["WEBHOOK_URL=https://n8n.example.com/", "payment.webhook.url=https://shop.example.com/hook"],
    "the application's own": [
        "GF_SERVER_ROOT_URL=https://grafana.example.com",
        "--web.external-url=https://prometheus.example.com",
        "root_url = https://grafana.example.com",
        "app:\n  baseUrl: https://backstage.example.com",
        "KC_HOSTNAME=https://sso.example.com",
        "APP_URL=https://shop.example.com",
        "publicUrl: https://shop.example.com",
    ],
    "a URL for browsers": [
        "REACT_APP_API_URL=https://api.example.com",
        "NEXT_PUBLIC_API=https://api.example.com",
        '<a href="https://shop.example.com',
        "GF_AUTH_GENERIC_OAUTH_AUTH_URL=https://idp.example.com/auth",
        "auth_url = https://idp.example.com/auth",
        "--login-url=https://idp.example.com/auth",
        "authorization_endpoint: https://idp.example.com/auth",
        "logo: https://cdn.example.com/logo.png",
        "icon: https://cdn.example.com/logo.svg",
        "RAILS_ASSET_HOST=https://cdn.example.com",
    ],
    "documentation": [
        "docs: https://docs.example.com",
        "DOCUMENTATION_URL=https://docs.example.com",
        "runbook_url: https://runbooks.example.com/x",
        "homepage: https://example.com",
        "privacy-policy-url: https://example.com/privacy",
    ],
    "an origin": [
        "CORS_ALLOWED_ORIGINS=https://shop.example.com",
        "CSRF_TRUSTED_ORIGINS=https://a.example.com,https://b.example.com",
        "curl -H 'Referer: https://shop.example.com/",
        "curl --referer https://shop.example.com/",
    ],
    "the name of a schema": [
        '"$schema": "https://json-schema.org/draft/2020-12/schema"',
        '"$schema": "https://example.com/schema.json"',
        '"@context": "https://schema.org"',
        'xmlns="https://maven.apache.org/POM/4.0.0',
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance',
        '<!DOCTYPE hibernate PUBLIC "-//x" "https://example.com/x.dtd',
        "see http://www.w3.org/1999/xhtml",
    ],
    "a target": [
        "locations:\n- type: url\n  target: https://github.com/x/y/blob/main/all.yaml",
        '"targets": ["https://shop.example.com", "https://b.example.com"]',
        "- targets:\n  - https://shop.example.com",
    ],
    "a part of a Google account's key": [
        '{"type": "service_account", "token_uri": "https://oauth2.googleapis.com/token"}',
        '"client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/a"',
        '"auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs"',
    ],
    "the address of a sign-in provider": [
        "config:\n  baseURL: https://gitlab.com\n  clientID: x\n  clientSecret: y",
        "config:\n  # Dex\n\n  clientSecret: $x\n  redirectURI: https://a.example.com\n  baseURL: https://gitlab.com",
        "- baseURL: https://gitlab.com\n  clientID: x",
        "- name: a\n  clientID: x\n- clientID: y\n  host:\n    name: a\n  baseURL: https://gitlab.com",
        '{"clientId":"x","baseUrl":"https://gitlab.com"}',
        '{"gitlab": {"enabled": true, "scopes": {}, "client_id": "x", "gitlab_url": "https://gitlab.com"}}',
        "gitlab: {clientID: x, baseURL: 'https://gitlab.com'}",
        "[auth.gitlab]\nclient_id = x\nurl = https://gitlab.com",
        "auth.gitlab.client-id=x\nauth.gitlab.base-url=https://gitlab.com",
        "export GITLAB_CLIENT_ID=x GITLAB_CLIENT_SECRET=y\nexport GITLAB_URL=https://gitlab.com",
        "<oauth>\n  <clientId>x</clientId>\n  <serverUrl>https://gitlab.com",
    ],
    "a contact": ["USER_AGENT=shop/1.0 (+https://shop.example.com/bot", "User-Agent: shop (+https://shop.example.com"],
}


def looked_at(text: str) -> str:
    """Why the last URL of a string is none, as the scan of an env entry without a name says it."""
    *_, site = scan(document(deployment(env={"": text})), {})
    return site.reason


@pytest.mark.parametrize("text", CALLS)
def test_what_is_a_call(text: str) -> None:
    assert looked_at(text) == ""


@pytest.mark.parametrize(("reason", "text"), [(reason, text) for reason, texts in NONE.items() for text in texts])
def test_what_only_looks_like_one(reason: str, text: str) -> None:
    found = looked_at(text)
    assert found.startswith(reason)
    assert found in REASONS


def test_every_rule_has_a_reason_and_an_example() -> None:
    assert len(REASONS) == len(RULES) == len(NONE)
    assert all(rule.why.endswith(".") for rule in RULES)


def test_the_name_is_that_of_the_entry_of_the_argument_before_or_of_the_key() -> None:
    file = config_map("f", {"app.yaml": f"issuer: {URL}\napi: {URL}\n", "ISSUER": URL})
    main = container(
        args=["--issuer", URL, "--verbose", "--api", URL],
        env={"ISSUER_URL": URL, "API": URL},
        envFrom=[{"configMapRef": {"name": "f"}}],
    )
    sites = scan(document(deployment(containers=[main])), config_maps(file))
    assert [bool(site.reason) for site in sites] == [True, False, True, False, True, False, True]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("GF_SERVER_ROOT_URL", " gf server root url "),
        ("redirectURIs", " redirect uri "),
        ("serverRootURL", " server root url "),
        ("--oidc-issuer-url", " oidc issuer url "),
        ("OIDCIssuer", " oidc issuer "),
        ("", "  "),
    ],
)
def test_a_name_in_words(written: str, words: str) -> None:
    assert Name(written).words == words


def test_looking_for_a_name_ends() -> None:
    text = "issuer:\n" + "\n".join("  - x" for _ in range(100)) + "\n  - https://a.example.com"
    assert name_of(text, text.index("https")) == Name("")
    assert name_of("x" * 10_000 + ": https://a.example.com", 10_002).written.endswith("x")
    assert identifier(Name(""), "") == ""


# ---- beside an OAuth client's credentials ---------------------------------------------------------------------------

BESIDE: list[tuple[dict[str, str], str, bool]] = [
    ({"CLIENT_ID": "x"}, "PAYMENTS_URL", False),
    ({"KAFKA_CLIENT_ID": "x"}, "SCHEMA_REGISTRY_URL", False),
    ({"GITLAB_CLIENT_ID": "x"}, "GITHUB_URL", False),
    ({"GITLAB_CLIENT_ID": "x"}, "GITLAB_API_URL", False),
    ({"GITLAB_CLIENT_ID": "x"}, "GITLAB_TOKEN_URL", False),
    ({"GITLAB_CLIENT_ID": "x"}, "GITLAB_URL", True),
    ({"GITLAB_CLIENT_ID": "x"}, "GITLAB", True),
    ({"GITLAB_CLIENT_SECRET": "x"}, "GITLAB_BASE_URL", True),
    ({"GITLAB_OAUTH_CLIENT_ID": "x"}, "GITLAB_HOST", True),
    ({"OAUTH_REDIRECT_URI": "/x"}, "OAUTH_SERVER_URL", True),
    ({"CLIENT_SECRET": "x"}, "BASE_URL", True),
    ({"DRONE_GITLAB_CLIENT_ID": "x"}, "DRONE_GITLAB_SERVER", True),
    ({"WOODPECKER_GITLAB_CLIENT": "x"}, "WOODPECKER_GITLAB_URL", True),
]


@pytest.mark.parametrize(("others", "name", "none"), BESIDE)
def test_what_stands_beside_a_clients_credentials_in_an_environment(
    others: dict[str, str], name: str, none: bool
) -> None:
    (site,) = scan(document(deployment(env={name: URL, **others})), {})
    assert bool(site.reason) is none
    main = container(envFrom=[{"configMapRef": {"name": "c"}}], env=others)
    (site,) = scan(document(deployment(containers=[main])), config_maps(config_map("c", {name: URL})))
    assert bool(site.reason) is none
    options = [f"--{key.lower().replace('_', '-')}={value}" for key, value in {**others, name: URL}.items()]
    (site,) = scan(document(deployment(containers=[container(args=options)])), {})
    assert bool(site.reason) is none


def test_credentials_from_a_secret_count_as_well() -> None:
    secret = {"name": "GITLAB_CLIENT_SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    main = {"name": "main", "image": "x", "env": [{"name": "GITLAB_URL", "value": URL}, secret]}
    (site,) = scan(document(deployment(containers=[main])), {})
    assert site.reason.startswith("the address of a sign-in provider")


@pytest.mark.parametrize("variable", ["OIDC_ISSUER", "API"])
def test_a_key_of_a_config_map_is_named_by_the_variable_that_gets_its_value_too(variable: str) -> None:
    files = config_maps(config_map("c", {"url": URL}))
    read = {"name": variable, "valueFrom": {"configMapKeyRef": {"name": "c", "key": "url"}}}
    call = {"name": "API", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "url"}}}
    main = {"name": "main", "image": "x", "env": [call, read]}
    (site,) = scan(document(deployment(containers=[main])), files)
    assert bool(site.reason) is (variable != "API")


def test_looking_for_what_stands_beside_it_ends() -> None:
    for hostile in (
        "{" * 50_000,
        "client" * 20_000,
        "client_id: x\n" + " " * 100_000,
        "- " * 50_000,
        "client.id=\n" * 20_000,
    ):
        scan(document(deployment(env={"A": f"client_id: x\n{hostile} url: {URL}"})), {})


# ---- overruled ------------------------------------------------------------------------------------------------------

PATH = ".spec.template.spec.containers[0].env[0].value"


@pytest.mark.parametrize(
    "text", [f"api.example.com={PATH}", f"API.example.com={{{PATH}}}", f"api.example.com={PATH.removeprefix('.')}"]
)
def test_force_makes_it_a_call(text: str) -> None:
    forced = (parse_forced(text),)
    assert forced == (Forced("api.example.com", PATH),)
    (site,) = scan(document(deployment(env={"ISSUER": URL})), {}, forced=forced)
    assert site.rewritable


def test_force_is_about_one_place_and_one_host() -> None:
    body = document(deployment(env={"ISSUER": URL, "AUDIENCE": URL}))
    (first, second) = scan(body, {}, forced=(parse_forced(f"api.example.com={PATH}"),))
    assert (first.rewritable, second.rewritable) == (True, False)
    assert not any(site.rewritable for site in scan(body, {}, forced=(parse_forced(f"b.example.com={PATH}"),)))


@pytest.mark.parametrize("hosts", ["api.example.com", "x.example.com, API.example.com.", "*"])
@pytest.mark.parametrize("where", ["workload", "template"])
def test_the_annotation_makes_it_a_call(hosts: str, where: str) -> None:
    body = deployment(env={"ISSUER": URL, "OTHER": "# not a comment"})
    holder = body if where == "workload" else body["spec"]["template"]
    holder["metadata"]["annotations"] = {"egress.kubectl/calls": hosts}
    (site,) = scan(document(body), {})
    assert site.rewritable


def test_nothing_makes_a_comment_a_call() -> None:
    body = deployment(command=["sh", "-c", f"# issuer={URL}"], annotations={"egress.kubectl/calls": "*"})
    (site,) = scan(
        document(body), {}, forced=(Forced("api.example.com", ".spec.template.spec.containers[0].command[2]"),)
    )
    assert not site.rewritable


def test_it_is_told_with_the_way_to_overrule_it_also_where_nothing_else_calls_the_host() -> None:
    survey, sites = survey_of(deployment(env={"ISSUER": URL}))
    (found,) = [one for one in check(survey, sites, None) if one.code == "looks-like-identifier"]
    assert f"--force 'api.example.com={PATH}'" in found.remedy

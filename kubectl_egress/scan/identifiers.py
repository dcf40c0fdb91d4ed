"""Strings that look like calls and are none: a table of rules, each with its reason, by a URL's name or by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from kubectl_egress.scan.naming import Name


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of string that is compared, shown or handed on, and not called by the pod that holds it."""

    reason: str
    """What a user is told; it goes on from "it stays as it is:"."""
    why: str
    """What would go wrong if it were rewritten."""
    names: str = ""
    """A pattern for its name in words (` oidc issuer url `), searched."""
    keys: str = ""
    """A pattern for the name as it is written, from its start to its end."""
    inner: str = ""
    """A pattern for a key that stands in the string, as it is written and without what was put before it."""
    sign_in: bool = False
    """Whether it is about what stands beside the credentials of an OAuth client."""
    urls: str = ""
    """A pattern for the URL in lower case, from its start on."""
    but: str = ""
    """URLs that are called although the name fits."""

    def knows(self, name: Name) -> bool:
        """Whether the rule is about this name."""
        return bool(
            (self.names and re.search(self.names, name.words))
            or (self.keys and re.fullmatch(self.keys, name.written, re.IGNORECASE))
            or (self.inner and name.inside and re.fullmatch(self.inner, name.key))
        )

    def fits(self, url: str, *, named: bool) -> bool:
        """Whether the rule is about a URL, in lower case, that has such a name or another."""
        if named:
            return not (self.but and re.match(self.but, url))
        return bool(self.urls and re.match(self.urls, url))


_URL = "(?:ur[li]|endpoint|link|href|page|address)s?"
_RECEIVERS = (
    r"https://(?:hooks\.slack\.com|discord(?:app)?\.com/api|[\w.-]+\.webhook\.office\.com|outlook\.office\.com"
    r"|chat\.googleapis\.com|hooks\.zapier\.com|maker\.ifttt\.com|oapi\.dingtalk\.com|qyapi\.weixin\.qq\.com"
    r"|open\.feishu\.cn|open\.larksuite\.com|events\.pagerduty\.com|api\.opsgenie\.com|api\.telegram\.org)[/:]"
)

# The first that fits gives the reason. Wrong in this direction costs a `--force`; in the other, a browser or a partner
# would be sent to http://, and tokens would stop being accepted.
RULES = (
    Rule(
        "an OIDC issuer, which is compared with what tokens say",
        "Every token names the issuer by its exact URL; with another one, none is accepted any more.",
        names=r" (?:issuers?|iss|authority|auth server url) | realm url $",
    ),
    Rule(
        "an audience, a scope or an entity, which is compared and not called",
        "The other side compares it character by character.",
        names=r" (?:aud|audiences?|scopes?|claims?|entity ids?|resource indicators?|relying party|rp ids?|client ids?) ",
        urls=r"https://(?:www\.googleapis\.com/auth/|[^/]+/\.default(?:$|[\s\"',]))",
    ),
    Rule(
        "a redirect or call-back URL, which somebody else calls",
        "A browser or a partner is sent there: to http:// it would go in clear, if the server accepts it at all.",
        names=r" (?:redirects?|redirection|callbacks?|call back|postback|post logout|postlogout) "
        rf"| (?:return|reply|success|cancel|failure|completion) {_URL} ",
    ),
    Rule(
        "a webhook's URL, which somebody else calls",
        "It is handed to the service that will call it. Slack's, Discord's, Teams' and the like are called, and count.",
        names=r" web ?hooks? ",
        but=_RECEIVERS,
    ),
    Rule(
        "the application's own public URL",
        "It goes into links, mails, cookies and redirects, for people outside.",
        names=rf" (?:public|external|root|site|front ?end|portal|canonical|advertised|self|own|app|console)(?: base| web)? {_URL} $"
        rf"| (?:public|external) (?:base )?{_URL} | kc hostname | hostname (?:admin )?{_URL} $",
    ),
    Rule(
        "a URL for browsers",
        "What a page is built or configured with is called by people's browsers, past every sidecar.",
        names=r"^ (?:next public|react app|vite|nuxt public|gatsby|expo public|vue app|ng app) "
        r"| (?:browser|links?|href|hyperlink|icons?|logos?|favicon|avatars?|badge|thumbnails?|screenshots?) "
        rf"| (?:cdn|assets?|static) (?:base |root )?(?:host|{_URL}) $"
        rf"| (?:log ?in|sign ?in|log ?out|sign ?out|sign ?up|authorize|authorization|consent|end session) {_URL} "
        r"|^ (?:gf (?:\w+ )*)?auth url $",
    ),
    Rule(
        "documentation, for people",
        "It is shown, not called.",
        names=rf" (?:docs?|documentation|help|support|faq|home ?page|privacy|policy|terms|tos|legal|imprint|licen[sc]e|feedback"
        rf"|change ?log|run ?book|website|wiki|blog|copyright|maintainers?|authors?)(?: {_URL})? $",
    ),
    Rule(
        "an origin, which is compared with what browsers say",
        "CORS, CSP and CSRF checks compare scheme and host.",
        names=r" (?:cors|origins?|csp|csrf|referr?er|content security policy|allow ?list|white ?list) ",
    ),
    Rule(
        "the name of a schema or an XML namespace",
        "It is an identifier that happens to look like a URL; parsers compare it, and few fetch it.",
        names=r" (?:json )?(?:schema|schema location|target namespace|namespace|xmlns|dtd)(?: ur[li]| id)? $",
        keys=r"[$@](?:schema|id|context|vocab|type|ref|base)|xmlns(?::[\w.-]+)?|xsi:\w+|id|<!DOCTYPE|<!ENTITY",
        urls=r"(?:https?)://(?:(?:www\.)?(?:w3\.org/(?:1999|200\d|201\d|ns|tr)/|json-schema\.org/|schema\.org(?:/|$)|purl\.org/|xmlns\.com/"
        r"|springframework\.org/(?:schema|dtd)/|hibernate\.org/(?:dtd|xsd)|mybatis\.org/dtd)"
        r"|schemas\.(?:xmlsoap\.org|openxmlformats\.org|microsoft\.com)/|json\.schemastore\.org/"
        r"|(?:java\.sun\.com|xmlns\.jcp\.org|xmlns\.oracle\.com)/(?:xml|dtd|jsp)|jakarta\.ee/xml/|maven\.apache\.org/(?:pom|xsd)"
        r"|logging\.apache\.org/(?:xml|log4j))",
    ),
    Rule(
        "a target that others are told of, and call or show",
        "Prometheus hands it to an exporter, a catalogue shows it to people: whoever gets http:// would go there in clear.",
        inner=r"targets?|realm",
    ),
    Rule(
        "a part of a Google account's key, which the library that reads it signs and compares",
        "A token request names token_uri as its audience: with http://, Google refuses it. The certificates' URLs are not called.",
        inner=r"token_uri|(?:auth_provider|client)_x509_cert_url",
    ),
    Rule(
        "the address of a sign-in provider, where browsers are sent as well",
        "It stands beside an OAuth client's credentials: one setting is for the server and for the login page that people go to.",
        sign_in=True,
    ),
    Rule(
        "a contact in a user agent",
        "It tells the server's operators whom to ask.",
        names=r" user agent ",
        keys=r"\(\+",
    ),
)

REASONS = frozenset(rule.reason for rule in RULES)


def identifier(name: Name, url: str, *, sign_in: bool = False) -> str:
    """Why a URL of this name is no call, in words; empty if nothing says so.

    `sign_in`: whether it stands beside the credentials of an OAuth client.
    """
    lower = url.lower()
    knowing = _knowing(name)
    return next(
        (rule.reason for rule in RULES if rule.fits(lower, named=rule.reason in knowing or (sign_in and rule.sign_in))),
        "",
    )


@lru_cache(4096)
def _knowing(name: Name) -> frozenset[str]:
    """The rules about a name, by their reasons; a cluster has the same names again and again."""
    return frozenset(rule.reason for rule in RULES if rule.knows(name))

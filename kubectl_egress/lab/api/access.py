"""Who may do what: bearer tokens, and allow-lists in the manner of RBAC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubectl_egress.lab.api.resources import BY_PLURAL, Resource
from kubectl_egress.lab.api.status import StatusError, forbidden, unauthorized

ANY = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is allowed: verb, resource (`pods`, `pods/exec`), namespace; `*` is any. A cluster scope's namespace is ``""``."""

    verb: str = ANY
    resource: str = ANY
    namespace: str = ANY

    def allows(self, verb: str, resource: str, namespace: str) -> bool:
        """Whether the rule covers this."""
        asked = ((self.verb, verb), (self.resource, resource), (self.namespace, namespace))
        return all(allowed in (ANY, value) for allowed, value in asked)


@dataclass(frozen=True, slots=True)
class User:
    """Who a token stands for."""

    name: str
    rules: tuple[Rule, ...] = ()

    def may(self, verb: str, resource: str, namespace: str) -> bool:
        """Whether one of the rules allows it."""
        return any(rule.allows(verb, resource, namespace) for rule in self.rules)


ADMIN = User("kubernetes-admin", (Rule(),))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What somebody asks for, as authorization sees it."""

    verb: str
    resource: Resource
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def path(self) -> str:
        """`pods`, `pods/exec`."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


def identify(users: Mapping[str, User], headers: Mapping[str, str]) -> User:
    """The user of a request: by `Authorization: Bearer`, and by `Impersonate-User` for those who may do anything.

    Raises StatusError: 401 without a token that is known, 403 for who may not impersonate.
    """
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    user = users.get(token.strip()) if scheme.lower() == "bearer" else None
    if user is None:
        raise unauthorized()
    wanted = headers.get("Impersonate-User")
    if not wanted:
        return user
    if not user.may("impersonate", "users", ""):
        message = (
            f'users "{wanted}" is forbidden: User "{user.name}" cannot impersonate resource "users" in API group "" '
            "at the cluster scope"
        )
        raise StatusError(403, "Forbidden", message, {"name": wanted, "kind": "users"})
    return next((other for other in users.values() if other.name == wanted), User(wanted))


def authorize(user: User, asked: Attributes) -> None:
    """Raise StatusError (403) in the real server's words (apiserver/pkg/endpoints/handlers/responsewriters/errors.go)."""
    if user.may(asked.verb, asked.path, asked.namespace):
        return
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = (
        f'User "{user.name}" cannot {asked.verb} resource "{asked.path}" in API group "{asked.resource.group}" {where}'
    )
    raise forbidden(asked.resource, asked.name, why)


def review(user: User, body: Mapping[str, object]) -> dict[str, object]:
    """A SelfSubjectAccessReview with its answer."""
    spec = body.get("spec")
    attributes = spec.get("resourceAttributes") if isinstance(spec, Mapping) else None
    allowed = False
    if isinstance(attributes, Mapping):
        plural, subresource = str(attributes.get("resource", "")), attributes.get("subresource")
        path = f"{plural}/{subresource}" if subresource else plural
        resource = BY_PLURAL.get(plural)
        same_group = resource is None or attributes.get("group", "") in (resource.group, ANY)
        allowed = same_group and user.may(str(attributes.get("verb", "")), path, str(attributes.get("namespace", "")))
    return {**body, "status": {"allowed": allowed, **({} if allowed else {"reason": "no rule of the lab allows it"})}}

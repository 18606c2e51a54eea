"""Who is calling, and what they may do, to which models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from retraining.auth.errors import MissingScope
from retraining.errors import UnknownModel


class Scope(StrEnum):
    """What a caller is allowed. `admin` implies the others, `cancel-any` implies `cancel`."""

    READ = "read"
    TRIGGER = "trigger"  # start jobs, and plan them: make, change, check and fire triggers
    PROMOTE = "promote"  # promote a version, roll back
    CANCEL = "cancel"  # of the jobs that the caller started
    CANCEL_ANY = "cancel-any"
    ADMIN = "admin"  # keys and the audit log, and all of the above


class Role(StrEnum):
    """A name for scopes that go together."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


SCOPES_OF: Mapping[Role, frozenset[Scope]] = {
    Role.VIEWER: frozenset({Scope.READ}),
    # Which version serves is not theirs to say: `promote` is given beside the role.
    Role.OPERATOR: frozenset({Scope.READ, Scope.TRIGGER, Scope.CANCEL_ANY}),
    Role.ADMIN: frozenset({Scope.ADMIN}),
}
_IMPLIED_BY: Mapping[Scope, frozenset[Scope]] = {Scope.CANCEL: frozenset({Scope.CANCEL_ANY})}


def scopes_named(words: Iterable[str]) -> frozenset[Scope]:
    """The scopes that words name, each a role or a scope. Raises ValueError for a word that is neither."""
    found: set[Scope] = set()
    for word in words:
        if word in set(Role):
            found |= SCOPES_OF[Role(word)]
        elif word in set(Scope):
            found.add(Scope(word))
        else:
            raise ValueError(
                f"{word!r} is neither a role ({', '.join(Role)}) nor a scope ({', '.join(Scope)})"
            )
    return frozenset(found)


@dataclass(frozen=True)
class Caller:
    """An authenticated caller. `name` is what `triggered_by`, the history of promotions and the audit show.

    A caller who is limited to models sees no others: to them, the others do not exist.
    """

    name: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    """The only models they may see; None for all."""
    credential: str = field(default="", compare=False)
    """By what they were recognised, for the audit log: `key 3f9a...`, `token`; never a secret."""

    @classmethod
    def named(cls, name: str, scopes: Iterable[str], models: Iterable[str] | None = None) -> "Caller":
        """A caller from plain words: scopes or roles. Raises ValueError for a word that is neither."""
        return cls(name, scopes_named(scopes), None if models is None else frozenset(models))

    def may(self, scope: Scope) -> bool:
        """Whether the caller has this scope. Nobody who is limited to models is an administrator."""
        if scope is Scope.ADMIN:
            return Scope.ADMIN in self.scopes and self.models is None
        return not self.scopes.isdisjoint({scope, Scope.ADMIN, *_IMPLIED_BY.get(scope, ())})

    def must(self, scope: Scope) -> None:
        """Raise MissingScope unless the caller has this scope."""
        if not self.may(scope):
            raise MissingScope(self.name, scope)

    def sees(self, model_name: str) -> bool:
        """Whether this model exists for the caller."""
        return self.models is None or model_name in self.models

    def must_see(self, model_name: str, known: Iterable[str]) -> None:
        """Raise UnknownModel, naming those of `known` that the caller sees, unless they see this model."""
        if not self.sees(model_name):
            raise UnknownModel(model_name, [name for name in known if self.sees(name)])

"""Who is calling, and what they may do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from retraining.errors import MissingScope


class Scope(StrEnum):
    """What a key allows. `admin` implies the others; none of the others implies another."""

    READ = "read"
    TRIGGER = "trigger"
    CANCEL = "cancel"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """An authenticated caller. `name` is what `triggered_by` and the history of promotions show."""

    name: str
    scopes: frozenset[Scope]

    @classmethod
    def named(cls, name: str, scopes: Iterable[str]) -> "Caller":
        """A caller from plain words. Raises ValueError for a scope that does not exist."""
        return cls(name, frozenset(Scope(scope) for scope in scopes))

    def may(self, scope: Scope) -> bool:
        """Whether the caller has this scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def must(self, scope: Scope) -> None:
        """Raise MissingScope unless the caller has this scope."""
        if not self.may(scope):
            raise MissingScope(self.name, scope)

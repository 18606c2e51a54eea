"""Who may not come in, or not now."""

from retraining.errors import RetrainingError, Unavailable


class NotAuthenticated(RetrainingError):
    """The request carries no key, or one that is unknown, expired or revoked."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"{problem}; send an API key as `Authorization: Bearer ...` or `X-API-Key`")


class InvalidToken(NotAuthenticated):
    """The bearer token is not one that the identity provider issued to a caller of this service."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        RetrainingError.__init__(self, f"the bearer token {problem}")


class MissingScope(RetrainingError):
    """The caller is known and may not do this."""

    def __init__(self, caller: str, scope: str) -> None:
        self.caller = caller
        self.scope = str(scope)
        super().__init__(f"{caller!r} lacks the scope {self.scope!r}; ask for a key that has it")


class NotYourJob(MissingScope):
    """Somebody else started the job, and the caller may cancel only their own."""

    def __init__(self, caller: str, job_id: object) -> None:
        self.job_id = str(job_id)
        super().__init__(caller, "cancel-any")
        self.args = (f"job {job_id} was not started by {caller!r}; cancelling it needs 'cancel-any'",)


class KeyNotFound(RetrainingError):
    """No API key has this id."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"API key {key_id!r} does not exist; `retraining key list` shows those that do")


class KeyNameTaken(RetrainingError):
    """A usable API key has this name already; who did what is told by the name alone."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"a usable API key is called {name!r} already; choose another name, or revoke it")


class IssuerUnavailable(Unavailable):
    """The identity provider's signing keys cannot be had, and the token needs one that is not known yet."""

    def __init__(self, issuer: str, problem: str) -> None:
        self.issuer = issuer
        self.problem = problem
        RetrainingError.__init__(
            self,
            "the identity provider does not give its signing keys, so the token cannot be checked; "
            "try again shortly, or use an API key",
        )


class RateLimitExceeded(RetrainingError):
    """A caller or an address asks more often than it may."""

    def __init__(self, budget: str, requests: int, seconds: int, retry_after_seconds: int) -> None:
        self.budget = budget
        self.requests = requests
        self.seconds = seconds
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            f"the limit {budget!r} of {requests} in {seconds} s is used up; "
            f"try again in {retry_after_seconds} s"
        )

"""What can go wrong, in the product's own words.

Every error carries its facts as attributes and builds its own message: what happened, to what, and what to
do. None knows HTTP; `api/errors.py` maps them to statuses. Vendor exceptions are translated at the vendor's
door and kept as the cause.
"""

from collections.abc import Sequence


class RetrainingError(Exception):
    """Base of all errors that a person can act on."""


class UnknownModel(RetrainingError):
    """The catalog has no model of this name."""

    def __init__(self, model_name: str, known: Sequence[str]) -> None:
        self.model_name = model_name
        self.known = tuple(sorted(known))
        names = ", ".join(self.known) or "none; set RETRAINING_MODELS or install a package that brings one"
        super().__init__(f"unknown model {model_name!r}; known models: {names}")


class InvalidCatalog(RetrainingError):
    """A model specification cannot be found, imported or accepted."""

    def __init__(self, origin: str, problem: str) -> None:
        self.origin = origin
        self.problem = problem
        super().__init__(f"model catalog entry {origin!r}: {problem}")


class InvalidParameters(RetrainingError):
    """Training parameters that the model's own parameter class refuses."""

    def __init__(self, model_name: str, problems: Sequence[tuple[str, str]]) -> None:
        self.model_name = model_name
        self.problems = tuple(problems)
        listed = "; ".join(f"{field}: {problem}" for field, problem in self.problems)
        super().__init__(f"invalid parameters for {model_name!r}: {listed}")


class DataProblem(RetrainingError):
    """The data cannot be used as asked. `source` names the file, folder or table."""

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        self.problem = problem
        super().__init__(f"{source}: {problem}")


class UnreadableSource(DataProblem):
    """The source cannot be opened or parsed."""


class MissingColumns(DataProblem):
    """Columns that the model needs are not in the source."""

    def __init__(self, source: str, missing: Sequence[str], available: Sequence[str]) -> None:
        self.missing = tuple(missing)
        self.available = tuple(available)
        plural = "s" if len(missing) > 1 else ""
        super().__init__(
            source, f"missing column{plural} {', '.join(missing)}; the source has {', '.join(available)}"
        )


class WrongColumnType(DataProblem):
    """A column has a type that its use does not allow."""

    def __init__(self, source: str, column: str, found: str, needed: str) -> None:
        self.column = column
        self.found = found
        self.needed = needed
        super().__init__(source, f"column {column} is {found}, needs {needed}")


class EmptyWindow(DataProblem):
    """No row falls into the window."""

    def __init__(self, source: str, window: str) -> None:
        self.window = window
        super().__init__(source, f"no rows in the window {window}")


class InsufficientTrainingData(RetrainingError):
    """Fewer rows than the model's specification demands."""

    def __init__(self, rows: int, needed: int) -> None:
        self.rows = rows
        self.needed = needed
        super().__init__(f"insufficient training data: {rows:,} rows, needs {needed:,}")


class TrainingFailed(RetrainingError):
    """The model's own code failed while training or scoring."""

    def __init__(self, model_name: str, step: str, problem: str) -> None:
        self.model_name = model_name
        self.step = step
        self.problem = problem
        super().__init__(f"{step} of {model_name!r} failed: {problem}")


class UnsupportedModel(RetrainingError):
    """What a training callable returned cannot be stored or scored."""

    def __init__(self, model_name: str, problem: str) -> None:
        self.model_name = model_name
        self.problem = problem
        super().__init__(f"the model that {model_name!r} trained cannot be registered: {problem}")


class NoChampion(RetrainingError):
    """The model has no promoted version yet."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        super().__init__(f"{model_name!r} has no champion yet; run a retraining job and let it promote one")


class NothingToRollBackTo(RetrainingError):
    """The model has no previous champion."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        super().__init__(f"{model_name!r} has no previous champion to roll back to")


class VersionNotFound(RetrainingError):
    """The registry has no such version of the model."""

    def __init__(self, model_name: str, version: str) -> None:
        self.model_name = model_name
        self.version = version
        super().__init__(f"{model_name!r} has no version {version}")


class ChampionChanged(RetrainingError):
    """Somebody else promoted a version since this decision's comparison."""

    def __init__(self, model_name: str, expected: str | None, found: str | None) -> None:
        self.model_name = model_name
        self.expected = expected
        self.found = found
        super().__init__(f"the champion of {model_name!r} is now {found}, the comparison was made with {expected}")


class JobNotFound(RetrainingError):
    """No job has this id."""

    def __init__(self, job_id: object) -> None:
        self.job_id = str(job_id)
        super().__init__(f"job {job_id} does not exist")


class JobAlreadyFinished(RetrainingError):
    """The job has reached a final status, which nothing leaves."""

    def __init__(self, job_id: object, status: str) -> None:
        self.job_id = str(job_id)
        self.status = status
        super().__init__(f"job {job_id} is already {status}")


class JobRunning(RetrainingError):
    """A job of the model is waiting or running, and the request asked to be refused then."""

    def __init__(self, model_name: str, job_id: object) -> None:
        self.model_name = model_name
        self.job_id = str(job_id)
        super().__init__(f"{model_name!r} already has job {job_id} waiting or running")


class IdempotencyKeyReused(RetrainingError):
    """The same Idempotency-Key came with another request."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            f"idempotency key {key!r} was used for a different request; use a new key for a new request"
        )


class NotDeployed(RetrainingError):
    """Prefect has no deployment for the model."""

    def __init__(self, deployment: str) -> None:
        self.deployment = deployment
        super().__init__(f"deployment {deployment!r} does not exist in Prefect; run `retraining deploy`")


class Unavailable(RetrainingError):
    """A server that the product stands on does not answer. Trying again later may work."""

    component = "component"

    def __init__(self, doing: str) -> None:
        self.doing = doing
        super().__init__(f"{self.component} is unavailable ({doing}); try again shortly, /ready says when")


class OrchestratorUnavailable(Unavailable):
    """The Prefect server does not answer."""

    component = "Prefect"


class RegistryUnavailable(Unavailable):
    """The MLflow server does not answer."""

    component = "MLflow"


class StoreUnavailable(Unavailable):
    """The facade's database does not answer or is locked."""

    component = "the database"

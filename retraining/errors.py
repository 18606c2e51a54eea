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


class InvalidCondition(RetrainingError):
    """A trigger's condition that is refused, with every field that is wrong."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{field}: {problem}" for field, problem in self.problems))


class InvalidManifest(RetrainingError):
    """A file of triggers that cannot be used: (line, field, problem) for everything that is wrong with it."""

    def __init__(self, name: str, problems: Sequence[tuple[int, str, str]]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems))
        listed = "".join(
            f"\n  line {line}: {f'{place} {problem}' if place else problem}"
            for line, place, problem in self.problems
        )
        super().__init__(f"{name} cannot be used, nothing was changed:{listed}")


class TriggerNotFound(RetrainingError):
    """There is no such trigger."""

    def __init__(self, trigger_id: object) -> None:
        self.trigger_id = trigger_id
        super().__init__(f"there is no trigger {trigger_id}; GET /api/retraining/triggers lists them")


class NothingToCheck(RetrainingError):
    """A scheduled trigger has no condition that could be checked or breached."""

    def __init__(self, trigger_id: object) -> None:
        self.trigger_id = trigger_id
        super().__init__(
            f"trigger {trigger_id} fires at times, there is nothing to check; start a job with "
            "POST /api/retraining"
        )


class InvalidRequest(RetrainingError, ValueError):
    """A field of a request that only the product itself, not its type, can refuse."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}")


class DataProblem(RetrainingError):
    """The data cannot be used as asked. `source` names the file, folder or table."""

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        self.problem = problem
        super().__init__(f"{source}: {problem}")


class UnreadableSource(DataProblem):
    """The source cannot be opened or parsed."""


class SourceUnreachable(UnreadableSource):
    """The storage or the database does not answer. Trying again later may work."""


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


class UnusableLabels(DataProblem):
    """The label column cannot be learned from."""

    def __init__(self, source: str, column: str, problem: str) -> None:
        self.column = column
        super().__init__(source, f"label {column} {problem}")


class UnusableFeatures(DataProblem):
    """Columns that no estimator takes: a (column, problem) pair for each."""

    def __init__(self, source: str, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__(source, "; ".join(f"column {column} {problem}" for column, problem in self.problems))


class InsufficientTrainingData(RetrainingError):
    """Fewer labelled rows than the model's specification demands."""

    def __init__(self, rows: int, needed: int, unlabelled: int = 0) -> None:
        self.rows = rows
        self.needed = needed
        self.unlabelled = unlabelled
        more = f"; {unlabelled:,} more have no label" if unlabelled else ""
        super().__init__(f"insufficient training data: {rows:,} rows, needs {needed:,}{more}")


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
        super().__init__(
            f"the champion of {model_name!r} is now {found}, the comparison was made with {expected}"
        )


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


class JobCancelled(RetrainingError):
    """The job was cancelled while its process went on; it must not change anything any more."""

    def __init__(self, job_id: object) -> None:
        self.job_id = str(job_id)
        super().__init__(f"job {job_id} was cancelled, so it does not promote")


class JobEnded(RetrainingError):
    """The job was ended while its process went on; it must not change anything any more."""

    def __init__(self, job_id: object, state: str | None, message: str | None) -> None:
        self.job_id = str(job_id)
        self.state = state
        super().__init__(f"job {job_id} is {state} already ({message}), so it does not promote")


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


class OrchestratorRefused(RetrainingError):
    """Prefect answered that it will not do what was asked; asking again will not help."""

    def __init__(self, doing: str, reason: str) -> None:
        self.doing = doing
        self.reason = reason
        super().__init__(f"Prefect refused to {doing}: {reason}")


class PromotionLockBusy(RetrainingError):
    """Another promotion of the model held the lock for as long as this one could wait."""

    def __init__(self, model_name: str, waited_seconds: float) -> None:
        self.model_name = model_name
        self.waited_seconds = waited_seconds
        super().__init__(
            f"another promotion of {model_name!r} is under way and did not end within {waited_seconds:g} s; "
            "try again"
        )


class RegistryRefused(RetrainingError):
    """MLflow answered that it will not do what was asked; asking again will not help."""

    def __init__(self, doing: str, reason: str) -> None:
        self.doing = doing
        self.reason = reason
        super().__init__(f"MLflow refused to {doing}: {reason}")


class UnloadableVersion(RetrainingError):
    """The files of a version cannot be loaded, or may not be."""

    def __init__(self, model_name: str, version: str, problem: str) -> None:
        self.model_name = model_name
        self.version = version
        self.problem = problem
        super().__init__(f"version {version} of {model_name!r} cannot be loaded: {problem}")


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


class TooManyFollowers(RetrainingError):
    """As many callers follow events as may do so at the same time."""

    def __init__(self, places: int) -> None:
        self.places = places
        super().__init__(
            f"{places} callers follow events already, as many as there may be; try again shortly"
        )


class SchemaIsNewer(RetrainingError):
    """A newer release migrated the database, and this one does not know what it holds."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        super().__init__(
            f"the database is at schema version {revision!r}, which this release does not know; "
            "run the newer release, or give RETRAINING_DATABASE_URL another database"
        )


class CannotStart(RetrainingError):
    """The stack cannot start as asked; nothing of it was left running."""


class PortInUse(CannotStart):
    """Somebody else listens where a component should."""

    def __init__(self, component: str, host: str, port: int) -> None:
        self.component = component
        self.host = host
        self.port = port
        super().__init__(
            f"port {port} on {host} is in use, {component} cannot listen there; "
            f"stop what uses it, or choose another with --{component}-port (0 takes a free one)"
        )


class HostNotUsable(CannotStart):
    """The address to listen on is not one of this machine's."""

    def __init__(self, host: str, problem: str) -> None:
        self.host = host
        super().__init__(f"cannot listen on {host}: {problem}; give --host an address of this machine")


class HomeNotWritable(CannotStart):
    """The home cannot hold the stack's files."""

    def __init__(self, home: object, problem: str) -> None:
        self.home = str(home)
        super().__init__(f"{home} cannot be the stack's home: {problem}; choose another with --home")


class HomeInUse(CannotStart):
    """Another stack lives in the home."""

    def __init__(self, home: object, pid: int | None) -> None:
        self.home = str(home)
        self.pid = pid
        whose = "" if pid is None else f" (process {pid})"
        super().__init__(f"another stack{whose} runs in {home}; stop it, or choose another home with --home")


class ComponentFailed(RetrainingError):
    """A component ended or did not become ready while the stack was starting."""

    def __init__(self, component: str, problem: str, log: object, last_lines: Sequence[str]) -> None:
        self.component = component
        self.problem = problem
        self.log = str(log)
        self.last_lines = tuple(last_lines)
        shown = "".join(f"\n    {line}" for line in self.last_lines)
        super().__init__(
            f"{component} {problem}; its log is {log}{', the last lines:' if shown else ''}{shown}"
        )


class StackNotRunning(RetrainingError):
    """There is no stack to talk to."""

    def __init__(self, home: object) -> None:
        self.home = str(home)
        super().__init__(f"no stack runs in {home}; start one with `retraining up --home {home}`")


class InvalidDriftProfile(RetrainingError):
    """A stored drift profile is damaged, or of another version of the product."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the drift profile cannot be used: {problem}; retrain the model to make a new one")


class ReportFailed(RetrainingError):
    """The report of a check could not be made; the check itself stands."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the report could not be made: {problem}")

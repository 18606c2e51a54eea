"""Models as MLflow stores them on disk: saving and loading, without a server and without global state.

scikit-learn estimators and LightGBM's scikit-learn classes are stored with skops and LightGBM boosters as
text: formats that run no code when they are loaded. An `mlflow.pyfunc.PythonModel` is code by nature, MLflow
has no format for it but cloudpickle, and loading one runs what is inside. So the door loads one only if its
files are, byte for byte, those that a job registered.
"""

import hashlib
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from retraining.errors import UnloadableVersion, UnsupportedModel
from retraining.registry.scoring import BoosterScoring, EstimatorScoring, PyfuncScoring
from retraining.registry.trusted import ALWAYS_TRUSTED, needed_types
from retraining.registry.values import Challenger, ScoringModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.models import Model, ModelSignature

Flavour = Literal["sklearn", "lightgbm", "booster", "pyfunc"]


def flavour_of(model: object, model_name: str) -> Flavour:
    """The MLflow flavour that fits a model.

    Raises:
        UnsupportedModel: none does.
    """
    from sklearn.base import BaseEstimator

    # Asking the class spares models that are not LightGBM's the import of LightGBM.
    if any(kind.__module__.partition(".")[0] == "lightgbm" for kind in type(model).__mro__):
        return "lightgbm" if isinstance(model, BaseEstimator) else "booster"
    if isinstance(model, BaseEstimator):
        return "sklearn"
    from mlflow.pyfunc.model import PythonModel

    if isinstance(model, PythonModel):
        return "pyfunc"
    raise UnsupportedModel(
        model_name,
        f"{type(model).__module__}.{type(model).__qualname__} has no flavour here; return a scikit-learn "
        "estimator, a LightGBM model, or wrap it in an mlflow.pyfunc.PythonModel",
    )


def save(challenger: Challenger, model_name: str, folder: Path) -> "Model":
    """Save the challenger into `folder`, which must not exist, in MLflow's layout.

    Requirements and signature are always given: inferring them would take MLflow some 13 s in a subprocess.

    Raises:
        UnsupportedModel: no flavour fits, or the format refuses a type.
    """
    model = challenger.model
    flavour = flavour_of(model, model_name)
    types: Sequence[str] = ()
    if flavour in ("sklearn", "lightgbm"):
        types = needed_types(model, model_name, challenger.trusted_types)
    with _saving(model_name):
        signature = _signature(challenger)
        return _write(
            model,
            flavour,
            folder,
            types=types,
            signature=signature,
            input_example=challenger.input_example,
        )


def load(folder: Path, model_name: str, version: str, *, verified: bool) -> ScoringModel:
    """Load what `save` wrote.

    `verified`: the files are those that a job registered. Files of unknown origin are loaded only in formats
    that run no code, and only with the types of `ALWAYS_TRUSTED`.

    Raises:
        UnloadableVersion: the format, or a type in it, may not be loaded, or loading fails.
    """
    from mlflow.models import Model

    try:
        flavours: dict[str, dict[str, Any]] = Model.load(str(folder)).flavors
        if (stored := flavours.get("lightgbm")) is not None:
            if stored.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
                import lightgbm

                return BoosterScoring(lightgbm.Booster(model_file=folder / stored["data"]), model_name)
            return _load_estimator(folder / stored["data"], stored, model_name, version, verified)
        if (stored := flavours.get("sklearn")) is not None:
            return _load_estimator(folder / stored["pickled_model"], stored, model_name, version, verified)
    except UnloadableVersion:
        raise
    except Exception as exc:
        raise UnloadableVersion(model_name, version, f"{type(exc).__name__}: {exc}") from exc
    if "python_function" not in flavours:
        raise UnloadableVersion(model_name, version, f"its flavours are {', '.join(flavours)}")
    if not verified:
        raise UnloadableVersion(
            model_name,
            version,
            "it is a Python function that no job registered, and loading it runs the code inside; "
            "let a retraining job train and register a version",
        )
    return _load_pyfunc(folder, model_name, version)


def as_scoring(model: object, model_name: str) -> ScoringModel:
    """Wrap a model that was just trained.

    A `PythonModel` is saved and loaded for it, so that what is evaluated is what will be served.

    Raises:
        UnsupportedModel: no flavour fits, or a `PythonModel` that cannot be stored.
    """
    flavour = flavour_of(model, model_name)
    if flavour == "booster":
        return BoosterScoring(model, model_name)
    if flavour != "pyfunc":
        return EstimatorScoring(model, model_name)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        with _saving(model_name):
            _write(model, flavour, folder)
        try:
            return _load_pyfunc(folder, model_name, "just trained")
        except UnloadableVersion as exc:
            raise UnsupportedModel(model_name, f"it does not load again: {exc.problem}") from exc


def look_up_installed() -> None:
    """Let MLflow look once which package each installed module is of, before the first model is saved.

    It compares the requirements of every model with what is installed, also when they are given: a third of a
    second of reading the records of all packages, once a process. For processes that jobs are forked from.
    """
    from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

    warn_dependency_requirement_mismatches(requirements("sklearn", ()))


def files_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def requirements(flavour: Flavour, types: Iterable[object]) -> list[str]:
    """Pinned requirements of a model: its flavour's, and those of further types that it is made of."""
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    names = {"mlflow", "numpy", "pandas"}
    match flavour:
        case "sklearn":
            names |= {"scikit-learn", "scipy", "skops"}
        case "lightgbm":
            names |= {"lightgbm", "scikit-learn", "scipy", "skops"}
        case "booster":
            names |= {"lightgbm", "scipy"}
        case "pyfunc":
            names |= {"cloudpickle"}
    modules = {str(name).partition(".")[0] for name in types}
    foreign = modules - {"sklearn", "numpy", "scipy", "pandas", "__main__"} - sys.stdlib_module_names
    if foreign:
        distributions = packages_distributions()
        names |= {name for module in foreign for name in distributions.get(module, ())}
    pinned = []
    for name in sorted(names):
        try:
            pinned.append(f"{name}=={version(name)}")
        except PackageNotFoundError:  # a namespace whose distribution is gone
            continue
    return pinned


def _write(
    model: Any,
    flavour: Flavour,
    folder: Path,
    *,
    types: Sequence[str] = (),
    signature: "ModelSignature | None" = None,
    input_example: pd.DataFrame | None = None,
) -> "Model":
    from mlflow.models import Model

    mlflow_model = Model()
    given: dict[str, Any] = {
        "mlflow_model": mlflow_model,
        "signature": signature,
        "input_example": input_example,
    }
    match flavour:
        case "sklearn":
            import mlflow.sklearn

            mlflow.sklearn.save_model(
                model,
                str(folder),
                serialization_format="skops",
                skops_trusted_types=list(types),
                pip_requirements=requirements(flavour, types),
                **given,
            )
        case "lightgbm":
            import mlflow.lightgbm

            mlflow.lightgbm.save_model(
                model,
                str(folder),
                serialization_format="skops",
                skops_trusted_types=list(types),
                pip_requirements=requirements(flavour, types),
                **given,
            )
        case "booster":
            import mlflow.lightgbm

            mlflow.lightgbm.save_model(
                model, str(folder), pip_requirements=requirements(flavour, ()), **given
            )
        case "pyfunc":
            import mlflow.pyfunc

            mlflow.pyfunc.save_model(
                str(folder),
                python_model=model,
                pip_requirements=requirements(flavour, (type(model).__module__,)),
                **given,
            )
    return mlflow_model


def _signature(challenger: Challenger) -> "ModelSignature":
    """What MLflow's generic predict() takes and gives: for a classifier classes, else what it scores."""
    from mlflow.models import infer_signature
    from sklearn.base import BaseEstimator, is_classifier

    model = challenger.model
    classifies = isinstance(model, BaseEstimator) and is_classifier(model)
    given = model.classes_ if classifies else challenger.output_example
    with warnings.catch_warnings():
        # MLflow hints at integer columns that might miss values one day. The types are the specification's.
        warnings.filterwarnings("ignore", message=".*integer column", category=UserWarning)
        return infer_signature(challenger.input_example, given)


@contextmanager
def _saving(model_name: str) -> "Iterator[None]":
    """Whatever fails while a model is written to the local disk is the model's."""
    try:
        yield
    except UnsupportedModel:
        raise
    except Exception as exc:
        raise UnsupportedModel(model_name, f"{type(exc).__name__}: {exc}") from exc


def _load_estimator(
    path: Path, stored: dict[str, Any], model_name: str, version: str, verified: bool
) -> EstimatorScoring:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    if (found := stored.get("serialization_format", "pickle")) != "skops":
        raise UnloadableVersion(
            model_name,
            version,
            f"it is stored as {found}, which can run any code when it is loaded; log it again with "
            "serialization_format='skops', or let a retraining job train and register a version",
        )
    # The list of trusted types comes with the files, so it is worth what the files are worth.
    own = set(stored.get("skops_trusted_types") or ()) if verified else set()
    try:
        return EstimatorScoring(skops.io.load(path, trusted=sorted(ALWAYS_TRUSTED | own)), model_name)
    except UntrustedTypesFoundException as exc:
        raise UnloadableVersion(
            model_name,
            version,
            "no job registered it, and it holds types that are not trusted: "
            + ", ".join(sorted(set(skops.io.get_untrusted_types(file=path)) - ALWAYS_TRUSTED)),
        ) from exc


def _load_pyfunc(folder: Path, model_name: str, version: str) -> PyfuncScoring:
    import mlflow.pyfunc

    try:
        return PyfuncScoring(mlflow.pyfunc.load_model(str(folder)), model_name)
    except Exception as exc:
        raise UnloadableVersion(model_name, version, f"{type(exc).__name__}: {exc}") from exc

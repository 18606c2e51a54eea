"""Fitting a scikit-learn estimator while saying how far it is, without changing what it learns.

How an estimator tells its progress depends on its kind, and works for the last step of a pipeline too:

- HistGradientBoosting counts its trees in the public `n_iter_` while it grows them; a thread watches it.
  Growing it in stages (`warm_start`) would give the same model, but takes two to four times as long: each
  stage bins all rows again and predicts with all trees so far.
- GradientBoosting calls a monitor, LightGBM's estimators call a callback, after each iteration.
- Random forests and extra trees are grown in ten stages: identical trees where `random_state` is a number
  (scikit-learn skips the draws of the trees that are there), for a copy of the features per stage.
- Any other estimator reports its start and its end.
"""

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from retraining.training.progress import Progress, no_progress

if TYPE_CHECKING:
    import pandas as pd

_STAGES = 10
_WATCH_SECONDS = 0.25
_LAST_REPORT_SECONDS = 5.0
_log = logging.getLogger(__name__)


def fit_with_progress(
    estimator: Any, features: "pd.DataFrame", labels: "pd.Series", progress: Progress = no_progress
) -> Any:
    """Fit an unfitted scikit-learn estimator or pipeline; returns it. Same result as its own `fit`.

    `progress` may be called from another thread, one call at a time, in the caller's context.
    """
    from sklearn.pipeline import Pipeline

    steps = list(estimator.steps) if isinstance(estimator, Pipeline) else [("", estimator)]
    name, last = steps[-1]
    progress(0.0, "fitting")
    if _counts_iterations(last):
        with _watching(lambda: last.n_iter_ / last.max_iter, progress):
            estimator.fit(features, labels)
    elif (hook := _iteration_hook(last, progress)) is not None:
        option, callback = hook
        estimator.fit(features, labels, **{f"{name}__{option}" if name else option: callback})
    elif _grows_identically(last) and (not name or _transforms_apart(estimator)):
        prepared = estimator[:-1].fit_transform(features, labels) if len(steps) > 1 else features
        _grow(last, prepared, labels, progress)
    else:
        estimator.fit(features, labels)
    progress(1.0, "fitted")
    return estimator


def _counts_iterations(last: Any) -> bool:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return isinstance(last, HistGradientBoostingClassifier | HistGradientBoostingRegressor)


@contextmanager
def _watching(share: Callable[[], float], progress: Progress) -> Iterator[None]:
    """Report `share` from a thread while the block runs. A report that fails ends the watch, not the fit."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_SECONDS):
            try:
                fraction = share()
            except AttributeError:  # scikit-learn's NotFittedError: the first tree is not there yet
                continue
            try:
                progress(min(fraction, 1.0), "fitting")
            except Exception:
                _log.warning("progress is no longer reported", exc_info=True)
                return

    watcher = threading.Thread(
        target=contextvars.copy_context().run, args=(watch,), name="fit-progress", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join(_LAST_REPORT_SECONDS)


def _iteration_hook(last: Any, progress: Progress) -> tuple[str, object] | None:
    """The option of the estimator's `fit` that takes a callback, and the callback."""
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    if isinstance(last, GradientBoostingClassifier | GradientBoostingRegressor):

        def monitor(iteration: int, fitted: Any, _variables: object) -> bool:
            progress((iteration + 1) / fitted.n_estimators, "fitting")
            return False  # True would stop the training

        return "monitor", monitor
    if type(last).__module__.partition(".")[0] == "lightgbm":

        def callback(state: Any) -> None:
            progress((state.iteration + 1) / state.end_iteration, "fitting")

        return "callbacks", [callback]
    return None


def _grows_identically(last: Any) -> bool:
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    forests = RandomForestClassifier | RandomForestRegressor | ExtraTreesClassifier | ExtraTreesRegressor
    return (
        isinstance(last, forests)
        and isinstance(last.random_state, int)
        and last.n_estimators >= _STAGES
        and not last.oob_score  # would be computed at each stage
        and getattr(last, "class_weight", None) is None  # the balanced presets warn at each stage
        and not last.warm_start
    )


def _transforms_apart(pipeline: Any) -> bool:
    """Whether fitting the transformers first and the last step after is what the pipeline would do."""
    return pipeline.memory is None and not pipeline.transform_input


def _grow(forest: Any, features: Any, labels: "pd.Series", progress: Progress) -> None:
    trees = forest.n_estimators
    forest.set_params(warm_start=True)
    try:
        for stage in range(1, _STAGES + 1):
            forest.set_params(n_estimators=trees * stage // _STAGES)
            forest.fit(features, labels)
            progress(stage / _STAGES, "fitting")
    finally:
        forest.set_params(warm_start=False, n_estimators=trees)

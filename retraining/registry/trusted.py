"""Which types a model's file may hold.

Estimators are stored with skops, which rebuilds an object from a description of it and refuses every type
that is not listed. Beside what skops trusts by itself (estimators and losses of scikit-learn, NumPy arrays)
these are the parts that scikit-learn's and LightGBM's own models are made of. A team adds its own types with
`ModelSpec.trusted_types`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from retraining.errors import UnsupportedModel

TREES = frozenset(
    {
        # skops leaves trees out because a forged file can crash the process: node numbers out of range.
        # The door loads a version's files only while they are those that it stored (see `files_digest`).
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    }
)
SCIKIT_LEARN = frozenset(
    {
        "functools.partial",  # HistGradientBoosting with categorical features holds one, of check_array
        "numpy.dtype",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.metrics._classification.balanced_accuracy_score",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._scorer._CurveScorer",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.model_selection._split.TimeSeriesSplit",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests.MetadataRequest",
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
        "sklearn.utils.validation.check_array",
    }
)
LIGHTGBM = frozenset(
    {
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRanker",
        "lightgbm.sklearn.LGBMRegressor",
    }
)
ALWAYS_TRUSTED = TREES | SCIKIT_LEARN | LIGHTGBM


def needed_types(estimator: Any, model_name: str, trusted: Iterable[str]) -> Sequence[str]:
    """The types beyond skops' own that the estimator's file will hold, all of them trusted.

    Raises:
        UnsupportedModel: a type is not trusted (named, with the remedy), or skops cannot store the estimator.
    """
    import skops.io

    try:
        needed = skops.io.get_untrusted_types(data=skops.io.dumps(estimator))
    except Exception as exc:
        raise UnsupportedModel(
            model_name,
            f"skops cannot store it ({exc}); define its classes and functions at the top level of a module, "
            "or return an mlflow.pyfunc.PythonModel",
        ) from exc
    unknown = sorted(set(needed) - ALWAYS_TRUSTED - set(trusted))
    if unknown:
        remedy = f"trusted_types=({', '.join(repr(name) for name in unknown)},)"
        raise UnsupportedModel(
            model_name,
            f"it holds types that are not trusted: {', '.join(unknown)}; "
            f"if they may be loaded wherever the model is, give its specification {remedy}",
        )
    return sorted(needed)

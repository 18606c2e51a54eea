"""What a user sees who has only MLflow."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retraining.registry.mlflow_registry import MlflowRegistry
from tests.registry.factories import boosted_model, challenger, features

PROGRAM = """
import sys, json
import mlflow.sklearn, mlflow.pyfunc, pandas
frame = pandas.read_json("features.json", orient="split")
name = sys.argv[1]
model = mlflow.sklearn.load_model(f"models:/{name}@champion")
generic = mlflow.pyfunc.load_model(f"models:/{name}@champion")
assert "retraining" not in sys.modules
print(json.dumps({
    "probabilities": model.predict_proba(frame)[:, 1].tolist(),
    "classes": generic.predict(frame).tolist(),
    "columns": generic.metadata.get_input_schema().input_names(),
}))
"""


def test_the_champion_loads_and_scores_the_same_with_nothing_but_mlflow(
    registry: MlflowRegistry, model_name: str, mlflow_url: str, tmp_path: Path
) -> None:
    registry.register(model_name, challenger(boosted_model()))
    registry.promote(model_name, "1", by="ann", reason="first version")
    (tmp_path / "features.json").write_text(features().to_json(orient="split", double_precision=15))

    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, model_name],
        cwd=tmp_path,
        env={"MLFLOW_TRACKING_URI": mlflow_url, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    expected = boosted_model().predict_proba(features())[:, 1]
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-12)
    assert answer["classes"] == pytest.approx(boosted_model().predict(features()).tolist())
    assert answer["columns"] == ["orders", "spend", "recency"]

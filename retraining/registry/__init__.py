"""The model registry: versions, and who was champion when. `mlflow_registry` is the door to MLflow."""

"""Training a challenger and comparing it with the champion, without MLflow, Prefect or SQL."""

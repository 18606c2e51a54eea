"""All commands of `retraining`, gathered."""

import typer

from retraining.cli import audit, deploy, doctor, job, key, model, trigger, up

app = typer.Typer(
    name="retraining",
    help="Keeps production models fresh: retraining jobs as Prefect flow runs, versions in MLflow.",
    epilog="Exit codes: 0 done, 1 failed, 2 used wrongly or nothing could be started, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("deploy")(deploy.deploy)
app.command("doctor")(doctor.doctor)
app.command("audit")(audit.audit)
app.add_typer(job.app, name="job")
app.add_typer(trigger.app, name="trigger")
app.add_typer(model.app, name="model")
app.add_typer(key.app, name="key")

"""`retraining doctor`: says what is wrong, and how to mend it."""

import asyncio

import typer

from retraining.cli.shell import HomeOption, console, settings_of_stack


def doctor(home: HomeOption = None) -> None:
    """Say what is wrong with this installation and its servers, and how to mend it; exit 1 if anything is."""
    from retraining.cli.diagnosis import diagnose

    out = console()
    wrong = 0
    for finding in asyncio.run(diagnose(settings_of_stack(home))):
        out.print(
            f"{'ok   ' if finding.remedy is None else 'WRONG'}  {finding.what}: {finding.found}",
            soft_wrap=True,
        )
        if finding.remedy is not None:
            wrong += 1
            out.print(f"       → {finding.remedy}", soft_wrap=True)
    if wrong:
        out.print(f"{wrong} thing{'s' if wrong > 1 else ''} to mend")
        raise typer.Exit(1)

"""What a Prefect server of the product's own is told, beside where its database is."""


def server_environment() -> dict[str, str]:
    """Settings under which jobs queue without idle time and survive a restart of the server."""
    return {
        # A job that finds another job of its model under way is looked at again after this long (default 30).
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
        # In memory, the default, a restart of the server forgets who holds which slot: every running job is
        # then stopped when it wants to renew its lease, and the slots of dead holders are never freed.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # How long the slot of a job that died before its first line stays taken (default 300).
        "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
        # Cancelled in the Prefect UI while its process starts, a job stays cancelling until this is over
        # (default 300). A worker gives a process 30 seconds to end.
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": "60",
        # To check one schedule, Prefect lists all time zones: without looking through the machine's own it
        # takes a tenth of the time, and the zones come from the package tzdata. Lists of hundreds of
        # schedules would hold up everything else for seconds.
        "PYTHONTZPATH": "",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }

"""What a job may use, and what happens when it uses more.

    job ── watch ── (when a bound is exceeded) ending
     └── processes that the team's training starts

`bounds` starts a small process, the watch (`watch`), when a job has a memory bound or a time limit. It looks
at the job and at all that descends from it twenty times a second. When they use too much it stops them
(SIGSTOP: nothing can ignore that, whatever holds the interpreter's lock), lets `ending` tell Prefect that the
run has failed and why, and kills them. Prefect refuses the worker's report of a crash that comes after.

- Memory is what the processes hold in RAM together, pages that they share counted once (PSS); a bound on the
  address space would count what is only reserved. What is allocated between two looks comes on top: some
  hundred megabytes at worst.
- A process whose parent has ended is handed to the job, not to the system, so that it still counts.
- The watch ends with the job, however that ends; a job whose watch was killed runs on without bounds.
- Linux only: elsewhere the job's log says that its bounds do not apply.
"""

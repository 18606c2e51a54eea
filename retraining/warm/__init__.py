"""Warm starts: a job begins in an interpreter that has everything imported already.

Prefect's process worker starts a command for each flow run, and that command can be chosen: the work pool's
public `command` field. Ours is a tiny launcher (`launcher`), which asks the warm server (`server`) for a
fork.

    worker ── launcher ═══ keeper ── job          ── child process   ═══ Unix socket
                             │ fork
                        warm server

The contract, each line of it with a test:

- To the worker the launcher is the job: environment, working folder, umask, resource limits and standard
  streams go from it to the job; signals too; the job's exit code or signal is the launcher's own. Prefect
  records the launcher's process id, and may kill it by any signal: the job ends with it, `kill -9`
  included.
- The job is a process of its own: leader of a session, no descriptor but 0, 1 and 2, default signal
  handlers, own seeds (random, numpy, polars), Prefect's settings read anew. It runs `prefect.engine` like
  the stock command, once Prefect's server listens (`engine`), and ends by running what is registered for
  the interpreter's end.
- The server has one thread and has run nothing: no OpenMP pool, no connection, no event loop. A catalog
  module that starts a thread while it is imported makes it refuse; jobs start cold then.
- A server serves one user (SO_PEERCRED, a folder of mode 0700), one interpreter and one environment;
  variables that differ from run to run (PREFECT__...) or from worker to worker of a stack apart. Another
  environment gets another server, four at most.
- The server comes with the worker (`worker`), or with the first job of a worker that was started otherwise.
- When a file of the project or of a catalog module has changed, or a package was installed, the server
  begins anew, when it has nothing to do or when the next job asks for it: no job runs old code. Installed
  packages edited in place go unnoticed.
- A job needs the server only to begin: it runs on when the server is killed, and when the worker is, with
  its process group. A keeper for each job sees to its signals and its end; if the keeper is killed, so is the
  job. The server leaves when the workers whose jobs it started are gone.
- What cannot start warm starts cold and says why in the job's log. A job waits for a server that is
  importing; a cold start would import the same. `RETRAINING_WARM_START=false` gives the stock command.

Threads that only sleep in the importing process (jemalloc's and polars' cleaners) are not in the server,
which is a fork of it, nor in jobs. OpenBLAS makes its threads anew after a fork, OpenMP when first used.

Limits: Linux only, elsewhere jobs start cold. The command names the installation that deployed last:
workers of a pool on one machine share it, and a machine without it runs `python -m prefect.engine`, the
python of the worker's PATH. A deployment of one's own whose pull steps fetch other versions of modules
imported here needs its own pool. Hash seeds (PYTHONHASHSEED) are common to the jobs of one server. Measures
for a job are those of its worker, but its control group is that of the worker whose job first started the
server.
"""

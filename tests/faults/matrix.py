"""Which component is killed while a job is where: the cells, and what is drawn of them."""

import random
from collections import defaultdict
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal, get_args

Component = Literal["engine", "launcher", "warm", "worker", "prefect", "mlflow", "facade", "stack"]
Stage = Literal["waiting", "pending", "submitting", "running", "registering", "promoting", "cancelling"]
COMPONENTS: tuple[Component, ...] = get_args(Component)
STAGES: tuple[Stage, ...] = get_args(Stage)
ABSENT: frozenset[tuple[Component, Stage]] = frozenset(
    {("engine", "pending"), ("launcher", "pending"), ("engine", "submitting")}
)
"""The job has no such process yet. A job that waits has none either: that of the job before it is killed."""
CELLS: tuple[tuple[Component, Stage], ...] = tuple(
    (component, stage) for component in COMPONENTS for stage in STAGES if (component, stage) not in ABSENT
)
OWN: frozenset[Component] = frozenset({"engine", "launcher"})
"""Each job has its own; the other components are everybody's, and one kill hits all jobs there are."""


@dataclass(frozen=True)
class Round:
    """Jobs of different models, held at these stages while the component is killed."""

    component: Component
    stages: tuple[Stage, ...]


def draw(faults: int, seed: int, jobs_at_once: int) -> list[Round]:
    """So many faults: each cell as often as any other, but for one; in an order by chance."""
    chance = random.Random(seed)
    cells = list(CELLS)
    chance.shuffle(cells)
    drawn: dict[Component, list[Stage]] = defaultdict(list)
    for component, stage in islice(cycle(cells), faults):
        drawn[component].append(stage)
    rounds = []
    for component, stages in drawn.items():
        left = list(stages)
        while left:
            together = list(dict.fromkeys(left))[:jobs_at_once]
            for stage in together:
                left.remove(stage)
            rounds.append(Round(component, tuple(together)))
    chance.shuffle(rounds)
    return _apart(rounds)


def _apart(rounds: list[Round]) -> list[Round]:
    """The same, no component twice running where that can be: it comes back slower each time."""
    left = list(rounds)
    ordered: list[Round] = []
    while left:
        before = ordered[-1].component if ordered else None
        often = {one.component: sum(other.component == one.component for other in left) for one in left}
        fits = [one for one in left if one.component != before] or left
        chosen = max(fits, key=lambda one: often[one.component])
        left.remove(chosen)
        ordered.append(chosen)
    return ordered

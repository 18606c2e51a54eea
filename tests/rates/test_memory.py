"""Budgets in memory: each key has its own, and many keys do not take much room."""

from retraining.rates.budget import Budget
from retraining.rates.memory import MemoryBudgets

TWO = Budget("two", 2)


class Clock:
    seconds = 0

    def __call__(self) -> int:
        return self.seconds * 1_000_000_000


async def test_every_key_and_every_budget_counts_for_itself() -> None:
    budgets = MemoryBudgets(clock=Clock())
    spent = [(await budgets.spend(TWO, key)).allowed for key in ("ada", "ada", "ada", "eve")]
    assert spent == [True, True, False, True]
    assert (await budgets.spend(Budget("three", 3), "ada")).remaining == 2


async def test_what_is_full_again_is_forgotten() -> None:
    clock = Clock()
    budgets = MemoryBudgets(clock=clock)
    for number in range(1_000):
        await budgets.spend(TWO, str(number))
    assert len(budgets) == 1_000
    clock.seconds = 61
    for number in range(1_000):
        await budgets.spend(TWO, f"later {number}")
    assert len(budgets) == 1_000


async def test_looking_at_keys_takes_no_room() -> None:
    budgets = MemoryBudgets(clock=Clock())
    for number in range(1_000):
        await budgets.spend(TWO, str(number), 0)
    assert len(budgets) == 0


async def test_past_the_most_keys_those_are_forgotten_that_were_quiet_for_longest() -> None:
    """Not one who goes on being refused: others cannot drive it out."""
    budgets = MemoryBudgets(100, clock=Clock())
    await budgets.spend(TWO, "guesser", 2)
    for number in range(10_000):
        await budgets.spend(TWO, f"address {number}")
        assert not (await budgets.spend(TWO, "guesser")).allowed
    assert len(budgets) == 100

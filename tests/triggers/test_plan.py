"""What a file of triggers changes."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from retraining.jobs.job import TriggerType
from retraining.triggers.plan import Declared, Held, Plan, plan_triggers

T0 = datetime(2026, 5, 4, tzinfo=UTC)
NUMBERS = count(1)


def declared(
    model: str = "churn", kind: str = "drift", *, enabled: bool = True, **condition: Any
) -> Declared:
    return Declared(
        model_name=model,
        trigger_type=TriggerType(kind),
        condition=condition,
        enabled=enabled,
        line=next(NUMBERS),
    )


def held(
    model: str = "churn", kind: str = "drift", *, enabled: bool = True, age: int = 0, **condition: Any
) -> Held:
    return Held(
        model_name=model,
        trigger_type=TriggerType(kind),
        condition=condition,
        enabled=enabled,
        id=UUID(int=next(NUMBERS)),
        created_at=T0 - timedelta(days=age),
    )


def carried_out(plan: Plan, there: list[Held]) -> list[Held]:
    """The triggers there are once the plan was followed."""
    changed = {change.held.id: change for change in plan.change}
    gone = {one.id for one in plan.delete}
    kept = []
    for one in there:
        fields = changed[one.id].fields if one.id in changed else {}
        if one.id not in gone:
            kept.append(
                Held(
                    model_name=one.model_name,
                    trigger_type=one.trigger_type,
                    condition=fields.get("trigger_condition", one.condition),
                    enabled=fields.get("enabled", one.enabled),
                    id=one.id,
                    created_at=one.created_at,
                )
            )
    kept += [
        held(new.model_name, new.trigger_type, enabled=new.enabled, **new.condition) for new in plan.create
    ]
    return kept


def test_what_means_the_same_stays_however_it_is_written() -> None:
    """Units, defaults and the order of keys make no difference."""
    there = [held(window="30d", patience=1), held(kind="scheduled", cron="0 3 * * *", timezone="UTC")]
    plan = plan_triggers(
        [declared(kind="scheduled", cron="0 3 * * *"), declared(patience=1, window="720h")], there
    )
    assert plan.empty
    assert plan.unchanged == 2


def test_a_new_one_is_created_and_one_that_is_gone_deleted() -> None:
    gone = held("profitability", "performance")
    new = declared("churn", "performance")
    plan = plan_triggers([new], [gone])
    assert (plan.create, plan.change, plan.delete, plan.unchanged) == ([new], [], [gone], 0)


def test_switching_off_keeps_the_trigger_and_its_condition() -> None:
    there = [held(window="30d"), held(window="60d")]
    plan = plan_triggers([declared(window="60d", enabled=False), declared(window="30d")], there)
    [change] = plan.change
    assert (change.held, plan.unchanged) == (there[1], 1)
    assert change.fields == {"enabled": False}
    assert change.fields_before == {"enabled": True}


def test_another_condition_changes_the_trigger_in_place() -> None:
    there = held(window="30d", enabled=False)
    wanted = declared(window="60d", patience=2)
    [change] = plan_triggers([wanted], [there]).change
    assert change.held is there
    assert change.fields == {"trigger_condition": {"window": "60d", "patience": 2}, "enabled": True}
    assert change.fields_before == {"trigger_condition": {"window": "30d"}, "enabled": False}


def test_several_of_one_model_and_type_are_paired_in_order_oldest_first() -> None:
    """The one that means the same is taken out first, wherever it stands."""
    newest, middle, oldest = (held(window=f"{days}d", age=days) for days in (1, 2, 3))
    first, same, last = declared(window="30d"), declared(window="2d"), declared(window="90d")
    plan = plan_triggers([first, same, last], [newest, middle, oldest])
    assert [(change.declared, change.held) for change in plan.change] == [(first, oldest), (last, newest)]
    assert plan.unchanged == 1
    assert not plan.create
    assert not plan.delete


def test_a_trigger_never_moves_to_another_model_or_type() -> None:
    plan = plan_triggers(
        [declared("profitability"), declared(kind="performance")],
        [held(), held(kind="scheduled", every="1d")],
    )
    assert (len(plan.create), len(plan.change), len(plan.delete)) == (2, 0, 2)


def test_a_condition_that_this_release_does_not_know_is_changed_not_kept() -> None:
    """It was made by a newer one."""
    plan = plan_triggers([declared()], [held(moon="full")])
    assert [change.fields for change in plan.change] == [{"trigger_condition": {}}]


_SOME = st.tuples(
    st.sampled_from(["churn", "profitability"]),
    st.sampled_from(["drift", "performance"]),
    st.sampled_from(["7d", "30d", "720h"]),
    st.booleans(),
)


@given(wanted=st.lists(_SOME, max_size=8), there=st.lists(_SOME, max_size=8))
def test_a_plan_that_was_followed_leaves_nothing_to_change(
    wanted: list[tuple[str, str, str, bool]], there: list[tuple[str, str, str, bool]]
) -> None:
    wants = [declared(model, kind, enabled=on, window=window) for model, kind, window, on in wanted]
    holds = [held(model, kind, enabled=on, window=window) for model, kind, window, on in there]
    plan = plan_triggers(wants, holds)
    again = plan_triggers(wants, carried_out(plan, holds))
    assert again.empty
    assert again.unchanged == len(wants)

"""A file of triggers is read whole, or every problem is named with its line and field."""

import json
import re
from pathlib import Path

import pytest

from retraining.errors import InvalidManifest
from retraining.triggers.manifest import read_manifest

GOOD = """\
# every model's triggers
triggers:
  - model_name: churn
    trigger_type: scheduled
    trigger_condition: {cron: "30 2 * * *", timezone: Europe/Berlin}
  - model_name: churn
    trigger_type: drift
    enabled: false
    trigger_condition:
      window: 30d
      columns: [orders, spend]
  - {model_name: profitability, trigger_type: performance, trigger_condition: {}}
"""


def problems_of(text: str, *, is_json: bool = False) -> list[tuple[int, str, str]]:
    with pytest.raises(InvalidManifest) as caught:
        read_manifest(text, "triggers.yaml", is_json=is_json)
    assert str(caught.value).startswith("triggers.yaml cannot be used, nothing was changed:\n  line ")
    return list(caught.value.problems)


def test_triggers_are_read_in_order_with_their_lines() -> None:
    scheduled, drift, performance = read_manifest(GOOD, "triggers.yaml")
    assert (scheduled.model_name, scheduled.trigger_type, scheduled.line) == ("churn", "scheduled", 3)
    assert scheduled.condition == {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    assert (drift.enabled, drift.line) == (False, 6)
    assert drift.condition == {"window": "30d", "columns": ["orders", "spend"]}
    assert (performance.model_name, performance.condition, performance.enabled) == ("profitability", {}, True)


def test_json_is_read_with_its_own_rules() -> None:
    """Tabs, and numbers that YAML would take for text."""
    text = (
        '{\n\t"triggers": [\n\t\t{"model_name": "churn", "trigger_type": "drift",\n'
        '\t\t "trigger_condition": {"threshold": 1e-1}}\n\t]\n}'
    )
    [drift] = read_manifest(text, "triggers.json", is_json=True)
    assert drift.condition == {"threshold": 0.1}
    assert drift.line == 3


def test_anchors_and_merges_are_yaml_as_usual() -> None:
    text = """\
base: &base
  window: 30d
triggers: []
"""
    assert problems_of(text) == [(1, "base", "is no key of this file, only `triggers` is")]
    text = """\
triggers:
  - &churn
    model_name: churn
    trigger_type: drift
    trigger_condition: &drift {window: 30d}
  - <<: *churn
    trigger_condition: {<<: *drift, patience: 2}
"""
    conditions = [one.condition for one in read_manifest(text, "triggers.yaml")]
    assert conditions == [{"window": "30d"}, {"window": "30d", "patience": 2}]


def test_an_empty_list_is_a_file_without_triggers() -> None:
    assert read_manifest("triggers: []", "triggers.yaml") == []


@pytest.mark.parametrize("text", ["", "triggers", "- 1", "triggers:", "triggers: {}", "triggers: 7"])
def test_a_file_without_a_list_is_refused(text: str) -> None:
    """An empty file must not delete every trigger."""
    [(line, _, problem)] = problems_of(text)
    assert line == 1
    assert "list" in problem


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("window: 30d", "windwo: 30d", (10, "triggers[1].trigger_condition.windwo", "Extra inputs")),
        ("window: 30d", "window: soon", (10, "triggers[1].trigger_condition.window", "valid timedelta")),
        ("window: 30d", "patience: 0", (10, "triggers[1].trigger_condition.patience", "greater than")),
        ("30 2 * * *", "61 2 * * *", (5, "triggers[0].trigger_condition.cron", "61")),
        (", timezone: Europe/Berlin", ", every: 1d", (5, "triggers[0].trigger_condition", "exactly one")),
        ("enabled: false", "enabled: 0", (8, "triggers[1].enabled", "valid boolean")),
        ("enabled: false", "enabeld: false", (8, "triggers[1].enabeld", "Extra inputs")),
        ("trigger_type: drift", "trigger_type: manual", (7, "triggers[1].trigger_type", "start a job")),
        ("trigger_type: drift", "trigger_type: moon", (7, "triggers[1].trigger_type", "'drift'")),
        (
            "  - model_name: churn\n    trigger_type: d",
            "  - trigger_type: d",
            (6, "triggers[1].model_name", "required"),
        ),
        ("    enabled: false\n", "    model_name: churn\n", (8, "triggers[1].model_name", "given twice")),
        ("  - {model_name", "  - x\n  - {model_name", (12, "triggers[2]", "dictionary")),
    ],
)
def test_a_problem_is_named_with_its_line_and_field(
    before: str, after: str, problem: tuple[int, str, str]
) -> None:
    assert before in GOOD
    [(line, field, said)] = problems_of(GOOD.replace(before, after, 1))
    assert (line, field) == problem[:2]
    assert problem[2] in said


def test_all_problems_are_named_at_once() -> None:
    broken = GOOD.replace("window: 30d", "window: soon").replace("30 2 * * *", "nightly")
    assert [(line, field) for line, field, _ in problems_of(broken)] == [
        (5, "triggers[0].trigger_condition.cron"),
        (10, "triggers[1].trigger_condition.window"),
    ]


def test_the_same_trigger_twice_is_refused() -> None:
    text = (
        GOOD
        + "  - {model_name: profitability, trigger_type: performance, trigger_condition: {patience: 1}}\n"
    )
    assert problems_of(text) == [(13, "triggers[3]", "is the same trigger as in line 12")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("triggers:\n  - model_name: churn\n   trigger_type: drift\n", 3),
        ("triggers:\n  - cron: * * * * *\n", 2),
        ("triggers: []\n---\ntriggers: []\n", 2),
        ("triggers: [!!python/object:os.system {}]\n", 1),
        ("triggers:\n\t- 1\n", 2),
        ("triggers: \x00", 1),
        ("triggers: {[a]: b, {a: b}: c}", 1),
        ("[" * 5_000, 1),
    ],
)
def test_what_is_no_yaml_is_named_with_its_line(text: str, line: int) -> None:
    [(found, _, _)] = problems_of(text)
    assert found == line


def test_what_is_no_json_is_named_with_its_line() -> None:
    assert problems_of('{\n"triggers": [,]}', is_json=True) == [(2, "", "is no JSON: Expecting value")]
    nested = json.dumps({"triggers": []}).replace("[]", "[" * 100_000 + "]" * 100_000)
    assert problems_of(nested, is_json=True) == [(1, "", "is nested too deeply")]


def test_the_readmes_file_is_one() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```yaml\n(# triggers.yaml.*?)```", readme, re.DOTALL)
    kinds = [str(one.trigger_type) for one in read_manifest(block, "triggers.yaml")]
    assert kinds == ["scheduled", "drift", "performance"]

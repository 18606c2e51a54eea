"""An evaluation in JSON: what its readers see, and what comes back of it."""

from retraining.triggers.evaluation import Evaluation, Outcome
from tests.triggers.evaluating import an_evaluation


def test_json_says_whether_it_breached_and_is_read_again() -> None:
    for outcome in Outcome:
        evaluation = an_evaluation(outcome=outcome)
        shown = evaluation.model_dump(mode="json")
        assert shown["breached"] is (outcome is Outcome.BREACHED)
        assert Evaluation.model_validate(shown) == evaluation


def test_json_begins_with_which_check_it_was_and_what_it_found() -> None:
    shown = list(an_evaluation().model_dump(mode="json"))
    assert shown[:4] == ["id", "trigger_id", "model_name", "trigger_type"]
    assert shown[4:10] == ["source", "by", "at", "as_of", "outcome", "reason"]

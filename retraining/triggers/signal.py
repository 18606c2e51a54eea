"""A breach that a team's own monitor reports."""

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from retraining.jobs.job import Moment
from retraining.jobs.plain import refuse_unstorable
from retraining.orchestrator.labels import TEMPLATE_PREFIX

MAX_PAYLOAD_BYTES = 16 * 1024

ScoreName = Annotated[str, Field(min_length=1, max_length=200)]
Score = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Signal(BaseModel):
    """What an external monitor found. All of it may be left out."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "reason": "share of rejected loans doubled",
                    "scores": {"rejected_share": 0.41},
                    "payload": {"dashboard": "https://grafana.example/d/loans"},
                }
            ]
        },
    )

    reason: str = Field(
        "breach reported by an external monitor", min_length=1, max_length=500, description="What was found."
    )
    scores: dict[ScoreName, Score] = Field(
        default_factory=dict, max_length=50, description="Numbers that show it, by name."
    )
    payload: dict[str, Any] | None = Field(None, description="Anything else, up to 16 KB of JSON.")
    at: Moment | None = Field(
        None, description="When it was found, UTC unless it says otherwise; now if left out."
    )

    @field_validator("reason", "scores", "payload")
    @classmethod
    def _can_be_stored(cls, value: Any) -> Any:
        refuse_unstorable(value, "it")
        return value

    @field_validator("scores", "payload")
    @classmethod
    def _is_no_template(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        reserved = next((key for key in _keys(value) if key.startswith(TEMPLATE_PREFIX)), None)
        if reserved is not None:
            raise ValueError(f"{reserved!r}: names that begin with {TEMPLATE_PREFIX} are Prefect's own")
        return value

    @field_validator("payload")
    @classmethod
    def _payload_is_small(cls, payload: dict[str, Any] | None) -> dict[str, Any] | None:
        size = len(json.dumps(payload, ensure_ascii=False).encode())
        if size > MAX_PAYLOAD_BYTES:
            raise ValueError(f"is {size:,} bytes of JSON, more than {MAX_PAYLOAD_BYTES:,}")
        return payload

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, to know a repetition by."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(part)

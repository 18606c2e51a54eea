"""A registry in memory, for tests of what stands on one; `test_contract.py` compares it with the real one."""

import threading
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from retraining.errors import (
    ChampionChanged,
    NoChampion,
    NothingToRollBackTo,
    RegistryUnavailable,
    VersionNotFound,
)
from retraining.registry import flavours
from retraining.registry.history import CHAMPION, PREVIOUS, ModelState
from retraining.registry.values import Challenger, ModelVersion, Promotion, ScoringModel


class FakeRegistry:
    """`Registry` without MLflow. `down = True` makes every call raise RegistryUnavailable."""

    def __init__(self) -> None:
        self.down = False
        self._lock = threading.RLock()
        self._versions: dict[str, dict[str, ModelVersion]] = defaultdict(dict)
        self._challengers: dict[tuple[str, str], Challenger] = {}
        self._aliases: dict[str, dict[str, str]] = defaultdict(dict)
        self._records: dict[str, list[Promotion]] = defaultdict(list)

    def challenger(self, model_name: str, version: str) -> Challenger:
        """What was registered as this version, files and all."""
        return self._challengers[model_name, version]

    def set_alias(self, model_name: str, alias: str, version: str) -> None:
        """Move an alias behind the registry's back, as somebody does in MLflow's UI."""
        self._aliases[model_name][alias] = version

    def delete_version(self, model_name: str, version: str) -> None:
        """Delete a version behind the registry's back; its aliases go with it, as in MLflow."""
        del self._versions[model_name][version]
        aliases = self._aliases[model_name]
        self._aliases[model_name] = {alias: found for alias, found in aliases.items() if found != version}

    def register(self, model_name: str, challenger: Challenger) -> ModelVersion:
        self.ping()
        flavours.flavour_of(challenger.model, model_name)
        with self._lock:
            for found in self._versions[model_name].values():
                if found.job_id == challenger.job_id:
                    return self._shown(found)
            number = str(1 + max((int(known) for known in self._versions[model_name]), default=0))
            version = ModelVersion(
                model_name=model_name,
                version=number,
                created_at=datetime.now(UTC),
                job_id=challenger.job_id,
                correlation_id=challenger.correlation_id,
                run_id=f"run-{model_name}-{number}",
                run_url=f"http://mlflow.test/#/experiments/1/runs/run-{model_name}-{number}",
                metrics=dict(challenger.metrics),
                parameters={name: str(value) for name, value in challenger.parameters.items()},
                fingerprint=challenger.fingerprint,
                holdout=challenger.holdout,
                decision=None,
            )
            self._versions[model_name][number] = version
            self._challengers[model_name, number] = challenger
            return version

    def load(self, version: ModelVersion) -> ScoringModel:
        found = self.get_version(version.model_name, version.version)
        return flavours.as_scoring(self._challengers[found.model_name, found.version].model, found.model_name)

    def as_scoring(self, model: object, model_name: str) -> ScoringModel:
        return flavours.as_scoring(model, model_name)

    def get_version(self, model_name: str, version: str) -> ModelVersion:
        self.ping()
        found = self._versions[model_name].get(version)
        if found is None:
            raise VersionNotFound(model_name, version)
        return self._shown(found)

    def list_versions(self, model_name: str) -> list[ModelVersion]:
        self.ping()
        return [self._shown(version) for version in reversed(self._versions[model_name].values())]

    def find_champion(self, model_name: str) -> ModelVersion | None:
        return self._find(model_name, CHAMPION)

    def find_previous(self, model_name: str) -> ModelVersion | None:
        return self._find(model_name, PREVIOUS)

    def read_file(self, version: ModelVersion, path: str) -> bytes | None:
        self.ping()
        challenger = self._challengers.get((version.model_name, version.version))
        return None if challenger is None else challenger.files.get(path)

    def record_decision(self, version: ModelVersion, decision: str) -> None:
        found = self.get_version(version.model_name, version.version)
        self._versions[found.model_name][found.version] = replace(found, decision=decision, aliases=())

    def promote(
        self,
        model_name: str,
        version: str,
        *,
        by: str,
        reason: str,
        job_id: str | None = None,
        expected_champion: str | Literal["any"] | None = "any",
    ) -> Promotion | None:
        with self._lock:
            self.get_version(model_name, version)
            champion = self._aliases[model_name].get(CHAMPION)
            if champion == version:
                self._record_outside_move(model_name)
                return None
            if expected_champion not in ("any", champion):
                raise ChampionChanged(model_name, expected_champion, champion)
            return self._move(model_name, version, "promotion", by=by, reason=reason, job_id=job_id)

    def roll_back(self, model_name: str, *, by: str, reason: str) -> Promotion:
        self.ping()
        with self._lock:
            champion, previous = (self._aliases[model_name].get(alias) for alias in (CHAMPION, PREVIOUS))
            if champion is None:
                raise NoChampion(model_name)
            if previous is None or previous == champion:
                raise NothingToRollBackTo(model_name)
            return self._move(model_name, previous, "rollback", by=by, reason=reason, job_id=None)

    def promotions(self, model_name: str) -> list[Promotion]:
        self.ping()
        return self._state(model_name).history(datetime.now(UTC))

    def ping(self) -> None:
        if self.down:
            raise RegistryUnavailable("answer a test that took it down")

    def _state(self, model_name: str) -> ModelState:
        return ModelState(model_name, self._aliases[model_name], self._records[model_name], {})

    def _move(
        self,
        model_name: str,
        version: str,
        kind: Literal["promotion", "rollback"],
        *,
        by: str,
        reason: str,
        job_id: str | None,
    ) -> Promotion:
        self._record_outside_move(model_name)
        aliases = self._aliases[model_name]
        promotion = Promotion(
            model_name=model_name,
            version=version,
            previous=aliases.get(CHAMPION),
            kind=kind,
            at=self._state(model_name).next_time(datetime.now(UTC)),
            by=by,
            reason=reason,
            job_id=job_id,
        )
        aliases[CHAMPION] = version
        if promotion.previous is not None:
            aliases[PREVIOUS] = promotion.previous
        self._records[model_name].insert(0, promotion)
        return promotion

    def _record_outside_move(self, model_name: str) -> None:
        outside = self._state(model_name).outside_move(datetime.now(UTC))
        if outside is not None:
            self._records[model_name].insert(0, outside)

    def _find(self, model_name: str, alias: str) -> ModelVersion | None:
        self.ping()
        version = self._aliases[model_name].get(alias)
        return None if version is None else self.get_version(model_name, version)

    def _shown(self, version: ModelVersion) -> ModelVersion:
        aliases = self._aliases[version.model_name].items()
        return replace(
            version, aliases=tuple(sorted(alias for alias, found in aliases if found == version.version))
        )

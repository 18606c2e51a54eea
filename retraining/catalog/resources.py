"""What the jobs of a model may use of the machine."""

from datetime import timedelta

from pydantic import BaseModel, ByteSize, ConfigDict, Field

MIB = 1024 * 1024


class Resources(BaseModel):
    """Bounds of a model's jobs; None leaves that to the settings, and without one there to the machine.

    A job that exceeds `memory` or `time_limit` ends as failed with that reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int | None = Field(None, ge=1, le=1024)
    """Threads that training computes with: OpenMP (scikit-learn, LightGBM), BLAS, and joblib's workers."""
    memory: ByteSize | None = Field(None, ge=64 * MIB)
    """Bytes, or text such as "4 GiB", of all processes of the job together."""
    time_limit: timedelta | None = Field(None, gt=timedelta(0))
    """From the beginning of the job's work to its end."""

    def or_else(self, default: "Resources") -> "Resources":
        """These bounds, and those of `default` where there is none."""
        return default.model_copy(update=self.model_dump(exclude_none=True))

    @property
    def watched(self) -> bool:
        """Whether there is a bound that somebody has to look after."""
        return self.memory is not None or self.time_limit is not None

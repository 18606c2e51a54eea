"""SQL: a table or a query in any database that SQLAlchemy reaches."""

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retraining.errors import SourceUnreachable, UnreadableSource
from retraining.sources.masking import mask_credentials, presentable_cause
from retraining.sources.order import in_canonical_order
from retraining.sources.sql_rows import FrameBuilder, parse_times
from retraining.sources.time_column import INSTANT, in_utc, inside, require_columns
from retraining.sources.window import Window

if TYPE_CHECKING:
    import sqlalchemy as sa

    Work = Callable[[sa.Connection], pl.DataFrame]

_FROM_ENVIRONMENT = "env:"
_PARAMETER_COLON = re.compile(r"(?<![:\w\\]):(?=\w)")
_CLASS_PREFIX = re.compile(r"^<class '[\w.]+'>: ")
_IS_BUSY = re.compile(r"\blocked\b|\btimed? ?out\b|too many (clients|connections)", re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class SqlSource:
    """Rows from a database, where the window and the columns are selected; results come in batches.

    `url` is a SQLAlchemy address, synchronous or asynchronous (`postgresql+psycopg://`,
    `postgresql+asyncpg://`, `sqlite:///file.db`; the driver's package has to be installed), or `env:NAME`:
    the address is then in the environment variable, read when data is, and no password is in the code.
    `table` may carry its schema (`sales.orders`). `query` is one SELECT; it becomes a subquery, so an ORDER
    BY in it has no effect.

    The time column is a date or a timestamp in the database. SQLite has neither: there it is ISO 8601 text.
    Decimals come as floats, UUIDs as text. For the window to cost what the window costs, the table needs an
    index (or partitions) on its time column.

    >>> SqlSource("env:WAREHOUSE_URL", table="sales.orders")
    SqlSource('table sales.orders at env:WAREHOUSE_URL')
    """

    url: str
    _: KW_ONLY
    table: str | None = None
    query: str | None = None
    batch_rows: int = 50_000

    def __post_init__(self) -> None:
        if (self.table is None) == (self.query is None):
            raise ValueError("give exactly one of table and query")
        if self.batch_rows < 1:
            raise ValueError("batch_rows is at least 1")

    def describe(self) -> str:
        """The table or the beginning of the query, and the database without credentials."""
        if self.table is not None:
            what = f"table {self.table}"
        else:
            words = " ".join((self.query or "").split())
            what = f"query {words if len(words) <= 60 else f'{words[:60]}…'!r}"
        is_address = "://" in self.url or self.url.startswith(_FROM_ENVIRONMENT)
        # What is no address may still hold a password, in a place where nothing finds it.
        return f"{what} at {mask_credentials(self.url) if is_address else 'a malformed address'}"

    def __repr__(self) -> str:
        return f"SqlSource({self.describe()!r})"

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        """Read as `DataSource.read` promises.

        Raises:
            SourceUnreachable: the database does not answer, or is locked.
        """
        wanted = list(dict.fromkeys((*columns, time_column)))
        frame = self._connect_and(lambda connection: self._select(connection, window, time_column, wanted))
        return in_canonical_order(frame, time_column, columns)

    def _select(
        self, connection: "sa.Connection", window: Window, time_column: str, wanted: list[str]
    ) -> pl.DataFrame:
        import sqlalchemy as sa

        from retraining.sources import sql_time

        source, relation = self.describe(), self._relation()
        available = connection.execute(sa.select(sa.text("*")).select_from(relation).where(sa.false())).keys()
        require_columns(source, available, wanted)

        time: sa.ColumnElement[Any] = sa.column(time_column)
        any_time = sa.select(time).select_from(relation).where(time.is_not(None)).limit(1)
        sample = connection.execute(any_time).scalar()
        if sample is None:
            return FrameBuilder(source, wanted).frame().with_columns(pl.col(time_column).cast(INSTANT))
        storage = sql_time.find_storage(source, time_column, sample, connection.dialect.name)

        rows = FrameBuilder(source, wanted)
        in_window = sql_time.inside(time, storage, window)
        query = sa.select(*map(sa.column, wanted)).select_from(relation).where(*in_window)
        for batch in connection.execution_options(yield_per=self.batch_rows).execute(query).partitions():
            rows.add(batch)
        frame = rows.frame()
        if frame.is_empty():
            return frame.with_columns(pl.col(time_column).cast(INSTANT))
        if storage.is_text:
            dates = storage is sql_time.StoredAs.TEXT_DATES
            frame = frame.with_columns(parse_times(source, frame[time_column], dates=dates))
            frame = frame.filter(inside(window, time_column, frame.schema[time_column]))
        return in_utc(frame, time_column)

    def _relation(self) -> "sa.FromClause":
        import sqlalchemy as sa

        if self.table is not None:
            schema, _, name = self.table.rpartition(".")
            return sa.table(name, schema=schema or None)
        query = (self.query or "").strip().rstrip(";")
        # A colon in the query is the query's own, it takes no parameters; the line's end closes a comment.
        text = sa.text(_PARAMETER_COLON.sub(r"\\:", query) + "\n")
        return text.columns().subquery("source")

    def _connect_and(self, work: "Work") -> pl.DataFrame:
        import sqlalchemy as sa
        from sqlalchemy.ext.asyncio import create_async_engine
        from sqlalchemy.pool import NullPool

        url = self._address()
        secret = str(url.password) if url.password else None

        def guarded(connection: sa.Connection) -> pl.DataFrame:
            with self._querying(connection, secret):
                return work(connection)

        async def work_asynchronously() -> pl.DataFrame:
            with self._opening(secret):
                connection = await create_async_engine(url, poolclass=NullPool).connect()
            try:
                return await connection.run_sync(guarded)
            finally:
                await connection.close()

        with self._opening(secret):
            is_async = url.get_dialect().is_async
        if is_async:
            # A thread of its own: the caller may be inside a running event loop.
            with ThreadPoolExecutor(max_workers=1) as thread:
                return thread.submit(asyncio.run, work_asynchronously()).result()
        with self._opening(secret):
            connection = sa.create_engine(url, poolclass=NullPool).connect()
        with connection:
            return guarded(connection)

    def _address(self) -> "sa.URL":
        import sqlalchemy as sa

        source, text = self.describe(), self.url
        if text.startswith(_FROM_ENVIRONMENT):
            name = text.removeprefix(_FROM_ENVIRONMENT)
            text = os.environ.get(name, "")
            if not text:
                raise UnreadableSource(source, f"the environment variable {name} is not set")
        try:
            url = sa.make_url(text)
        except sa.exc.ArgumentError:
            needed = "dialect+driver://user:password@host/database"
            raise UnreadableSource(source, f"the address is not a SQLAlchemy URL ({needed})") from None
        file = url.database if url.get_backend_name() == "sqlite" else None
        is_file = bool(file) and not str(file).startswith((":memory:", "file:"))
        if is_file and not Path(str(file)).exists():
            # sqlite3 would make a new, empty database.
            raise UnreadableSource(source, f"the database file {file} does not exist")
        return url

    @contextmanager
    def _opening(self, secret: str | None) -> Iterator[None]:
        """Translate what goes wrong before there is a connection."""
        import sqlalchemy as sa

        try:
            yield
        except sa.exc.NoSuchModuleError as exc:
            raise UnreadableSource(self.describe(), f"SQLAlchemy has no such dialect: {exc}") from exc
        except ImportError as exc:
            problem = f"the database's driver is not installed: {mask_credentials(str(exc), secret)}"
            raise UnreadableSource(self.describe(), problem) from exc
        # Drivers raise their own errors here, and the system's.
        except Exception as exc:
            problem = f"cannot connect to the database: {_first_line(exc, secret)}"
            raise SourceUnreachable(self.describe(), problem) from presentable_cause(exc, secret)

    @contextmanager
    def _querying(self, connection: "sa.Connection", secret: str | None) -> Iterator[None]:
        """Translate what goes wrong while the database works."""
        import sqlalchemy as sa

        source = self.describe()
        try:
            yield
        except OSError as exc:  # asyncpg's timeouts come as they are
            problem = f"the database does not answer: {_first_line(exc, secret)}"
            raise SourceUnreachable(source, problem) from presentable_cause(exc, secret)
        except sa.exc.SQLAlchemyError as exc:
            cause, problem = presentable_cause(exc, secret), _first_line(exc, secret)
            is_cut = isinstance(exc, sa.exc.DBAPIError) and exc.connection_invalidated
            if is_cut or _IS_BUSY.search(problem):
                raise SourceUnreachable(source, f"the database does not answer: {problem}") from cause
            if self.table is not None and not is_cut:
                self._require_table(connection)
            raise UnreadableSource(source, f"the query fails: {problem}") from cause

    def _require_table(self, connection: "sa.Connection") -> None:
        import sqlalchemy as sa

        schema, _, name = (self.table or "").rpartition(".")
        try:
            connection.rollback()
            inspector = sa.inspect(connection)
            if inspector.has_table(name, schema=schema or None):
                return
            tables = sorted(inspector.get_table_names(schema=schema or None))
        except sa.exc.SQLAlchemyError:
            return  # the first error says more
        there = ", ".join(tables[:20]) or "none"
        raise UnreadableSource(self.describe(), f"there is no such table; the database has {there}")


def _first_line(exc: BaseException, secret: str | None) -> str:
    cause = getattr(exc, "orig", None) or exc
    lines = _CLASS_PREFIX.sub("", str(cause).strip()).splitlines()
    return mask_credentials(lines[0] if lines else type(cause).__name__, secret)[:300]

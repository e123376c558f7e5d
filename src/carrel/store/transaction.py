"""The only way to a connection, and the only commit: a short transaction bound to one grant.

The tenant, the user and the sources of the grant are set for this transaction alone (`set_config(…, true)`), so a
pooled connection carries nothing from one borrower to the next. Row-level security reads them.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias, assert_never
from urllib.parse import urlsplit, urlunsplit
from zlib import crc32

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy
from pgvector.asyncpg import register_vector

from carrel.domain.access import AccountGrant, EndUser, EndUsers, PlatformGrant, TenantGrant
from carrel.domain.errors import Invalid, Refusal, Unavailable
from carrel.domain.ids import TenantId

Grant: TypeAlias = TenantGrant | PlatformGrant | AccountGrant
Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Borrowed: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
Meet: TypeAlias = Callable[[int], Awaitable[None]]

EVERY_SOURCE: Final = "*"
EVERY_END_USER: Final = "*"
_NETWORK: Final = 120.0  # for what has no timeout of its own: begin, commit, many at once
_MARGIN: Final = 10.0
_SEARCH_PATH: Final = "carrel, public"
_BIND: Final = re.compile(r"(?<![:\w]):([a-z_]+)")
_PLAIN: Final = re.compile(r"[0-9a-z,*-]*", re.ASCII)
_BEGIN: Final = """
    select set_config('carrel.tenant', '{}', true), set_config('carrel.user', '{}', true),
                  set_config('carrel.sources', '{}', true), set_config('carrel.platform', '{}', true),
                  set_config('carrel.accounts', '{}', true), set_config('carrel.end_user', '{}', true),
                  set_config('statement_timeout', '{}', true)
"""

_SNAPSHOT: Final = "begin isolation level repeatable read, read only;"
_MOMENT: Final = re.compile(r"[0-9A-F-]*", re.ASCII)
_LISTENED: Final = """
    select exists (select from pg_locks l join pg_database d on d.oid = l.database
                   where l.locktype = 'advisory' and l.classid = $1::int::oid and d.datname = current_database())
"""


class Statement:
    """SQL with `:names`, built once. `:tenant` is filled from the grant and can be given by nobody else."""

    def __init__(self, sql: str) -> None:
        self.names: tuple[str, ...] = tuple(dict.fromkeys(_BIND.findall(sql)))
        self.sql = _BIND.sub(lambda match: f"${self.names.index(match[1]) + 1}", sql)

    def arguments(self, grant: Grant, values: dict[str, Any]) -> list[Any]:
        if "tenant" in values:
            raise TypeError("The tenant comes from the grant.")
        if not isinstance(grant, PlatformGrant) and grant.tenant is not None:
            values = {**values, "tenant": grant.tenant}
        return [values[name] for name in self.names]


_EXPORT: Final = Statement("select pg_export_snapshot()")


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction. It belongs to the `async with` that opened it and must not leave it."""

    grant: Grant
    _connection: Borrowed
    _patience: float  # seconds for a statement of a server that does not end it by itself: it cannot be reached

    @property
    def tenant(self) -> TenantId:
        """The grant's tenant. Raises TypeError in a transaction that has none."""
        if isinstance(self.grant, PlatformGrant) or self.grant.tenant is None:
            raise TypeError("This transaction has no tenant.")
        return self.grant.tenant

    async def rows(self, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        return await self._connection.fetch(
            statement.sql, *statement.arguments(self.grant, values), timeout=self._patience
        )

    async def row(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        return await self._connection.fetchrow(
            statement.sql, *statement.arguments(self.grant, values), timeout=self._patience
        )

    async def value(self, statement: Statement, **values: Any) -> Any:
        return await self._connection.fetchval(
            statement.sql, *statement.arguments(self.grant, values), timeout=self._patience
        )

    async def run(self, statement: Statement, **values: Any) -> int:
        """The number of rows that the statement touched."""
        tag = await self._connection.execute(
            statement.sql, *statement.arguments(self.grant, values), timeout=self._patience
        )
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def run_many(self, statement: Statement, batches: list[dict[str, Any]]) -> None:
        arguments = [statement.arguments(self.grant, values) for values in batches]
        await self._connection.executemany(statement.sql, arguments, timeout=max(self._patience, _NETWORK))


class Database:
    """A bounded pool of connections of the serving role; `transaction(grant)` is all that it offers."""

    def __init__(self, pool: Pool, url: str, *, patience: float) -> None:
        self._pool = pool
        self._url = url
        self._patience = patience

    @classmethod
    async def connect(cls, url: str, *, connections: int, patience: float = 10.0, meet: Meet | None = None) -> Self:
        """`patience` is how many seconds a borrower waits for a free connection. Raises Unavailable.

        `meet` gets the process id of the server of each new connection.
        """

        async def prepare(connection: Session) -> None:
            await _prepare(connection)
            if meet is not None:
                await meet(connection.get_server_pid())

        with translated():
            pool = await asyncpg.create_pool(
                plain_url(url),
                min_size=1,
                max_size=connections,
                init=prepare,
                reset=_check_clean,
                timeout=10,
                command_timeout=_NETWORK,
                server_settings={"search_path": _SEARCH_PATH, "application_name": "carrel"},
            )
        return cls(pool, url, patience=patience)

    async def close(self) -> None:
        await self._pool.close()

    @property
    def borrowed(self) -> int:
        """How many connections are out; 0 when nothing runs."""
        return self._pool.get_size() - self._pool.get_idle_size()

    def transaction(self, grant: Grant, *, timeout: float = 30.0) -> AbstractAsyncContextManager[Transaction]:
        """Commits at the end, rolls back on any exception. `timeout` bounds each statement, in seconds.

        Raises Unavailable when the database does not answer or no connection comes free in time.
        """
        return self._begun("begin;", grant, timeout)

    def snapshot(
        self, grant: Grant, *, of: str = "", timeout: float = 300.0
    ) -> AbstractAsyncContextManager[Transaction]:
        """As `transaction`, read-only, and everything in it is seen as at one moment.

        `of` is what `moment_of` says of another snapshot that is still open: then it is that one's moment.
        """
        if not _MOMENT.fullmatch(of):
            raise TypeError("A moment is what the database calls it.")
        return self._begun(_SNAPSHOT + (f"set transaction snapshot '{of}';" if of else ""), grant, timeout)

    @asynccontextmanager
    async def _begun(self, opening: str, grant: Grant, timeout: float) -> AsyncIterator[Transaction]:
        with translated():
            async with self._borrowed() as connection:
                await connection.execute(opening + _beginning(grant, timeout))
                try:
                    yield Transaction(grant, connection, timeout + _MARGIN)
                except BaseException:
                    if not connection.is_closed():  # else the server has rolled back, and what happened here counts
                        await connection.execute("rollback")
                    raise
                await connection.execute("commit")

    @asynccontextmanager
    async def reading(self, grant: Grant, within: object = None) -> AsyncIterator[Transaction]:
        """The transaction `within` that is open already, which must be the same grant's; else one of its own.

        Raises what `transaction` raises.
        """
        if not isinstance(within, Transaction):
            async with self.transaction(grant) as tx:
                yield tx
        elif within.grant is grant:
            yield within
        else:
            raise TypeError("A transaction reads under its own grant.")

    async def look_up(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """One row that a definer function finds before any tenant is known: a single message, and nothing is bound.

        So row-level security shows no row to anything but the function. Raises Unavailable.
        """
        with translated():
            async with self._borrowed() as connection:
                return await connection.fetchrow(
                    statement.sql, *(values[name] for name in statement.names), timeout=_MARGIN
                )

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Borrowed]:
        """The pool's own timeout would make a task of every acquisition. Raises TimeoutError."""
        async with asyncio.timeout(self._patience):
            connection = await self._pool.acquire()
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    @asynccontextmanager
    async def listening(
        self, channel: str, heard: Callable[..., None], *, lost: Callable[..., None]
    ) -> AsyncIterator[None]:
        """Call `heard` at each NOTIFY, and `lost` if the connection ends; it is one of its own, outside the pool.

        While it is open, others see by `listened(channel)` that somebody is there.
        """
        with translated():
            connection = await asyncpg.connect(plain_url(self._url), timeout=10)
            try:
                await connection.execute("select pg_advisory_lock_shared($1, 0)", _presence(channel))
                await connection.add_listener(channel, heard)
                connection.add_termination_listener(lost)
                yield
            finally:
                connection.remove_termination_listener(lost)
                connection.terminate()

    async def listened(self, channel: str) -> bool:
        """Whether anybody listens on the channel now, in any process on any machine."""
        with translated():
            async with self._borrowed() as connection:
                return bool(await connection.fetchval(_LISTENED, _presence(channel)))


async def moment_of(tx: Transaction) -> str:
    """The name under which another transaction can see what this snapshot sees, as long as it is open."""
    return str(await tx.value(_EXPORT))


def _beginning(grant: Grant, timeout: float) -> str:
    """What binds a transaction, in the message that opens it: two would cost each one a tenth of a millisecond.

    A message of several statements takes no parameters, so what stands in the quotes is nothing but ids and numbers.
    """
    bindings = _bindings(grant, timeout)
    if not all(_PLAIN.fullmatch(value) for value in bindings):
        raise TypeError("A grant holds nothing but ids.")
    return _BEGIN.format(*bindings)


def _bindings(grant: Grant, timeout: float) -> tuple[str, ...]:
    """Tenant, user, sources, platform, accounts, end user, and the milliseconds that a statement may take."""
    milliseconds = str(int(timeout * 1000))
    match grant:
        case PlatformGrant():
            return "", "", "", "on", "", "", milliseconds
        case AccountGrant():
            every = EVERY_SOURCE if grant.tenant else ""
            return str(grant.tenant or ""), str(grant.user or ""), every, "", "on", "", milliseconds
        case TenantGrant():
            sources = EVERY_SOURCE if grant.sources is None else ",".join(str(source) for source in grant.sources)
            user, end_user = str(grant.user or ""), _end_user(grant.end_user)
            return str(grant.tenant), user, sources, "", "", end_user, milliseconds
        case _:
            assert_never(grant)


def _end_user(end_user: EndUser) -> str:
    """As the policies compare it: the bytes in hexadecimal: no name can be taken for `*` or break the message."""
    match end_user:
        case None:
            return ""
        case EndUsers.ALL:
            return EVERY_END_USER
        case _:
            return end_user.encode().hex()


async def _prepare(connection: Session) -> None:
    await register_vector(connection)
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
        schema="pg_catalog",
        format="binary",
    )


async def _check_clean(connection: Session) -> None:
    """All that we set is transaction-local, so there is nothing to reset; an open transaction would be a leak."""
    if connection.is_in_transaction():
        connection.terminate()


def _presence(channel: str) -> int:
    return crc32(channel.encode()) >> 1


@contextmanager
def translated() -> Iterator[None]:
    """The database's errors as refusals. What it does not know passes through: that is a mistake of ours."""
    try:
        yield
    except Refusal:
        raise
    except asyncpg.QueryCanceledError as error:
        raise Unavailable("The database took too long to answer.", code="database_timeout") from error
    except (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError) as error:
        raise Invalid("The text holds a character that cannot be kept.", code="invalid_text") from error
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.TransactionRollbackError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # the connection was cut in the middle of a message
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        OSError,
        TimeoutError,
    ) as error:
        raise Unavailable("The database does not answer.", code="database_unavailable") from error


def plain_url(url: str) -> str:
    """The address without SQLAlchemy's driver name, which the settings accept."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme=parts.scheme.partition("+")[0]))

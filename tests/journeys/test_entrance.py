"""How people come in, beneath the door: guesses that are counted, equal work for everybody, brakes, mail that waits."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from carrel.domain.access import for_accounts, for_job
from carrel.domain.errors import Invalid, Refusal, Throttled, Unauthenticated, Unavailable
from carrel.domain.limits import Limit, Standing
from carrel.domain.mail import Letter, MailKind, WaitingMail
from carrel.store import mails
from carrel.store.transaction import Database, Statement
from carrel.tenancy.brakes import BRAKES, Brakes, Of, Try
from carrel.tenancy.codes import Purpose
from carrel.tenancy.mailroom import Mailroom, Writer
from carrel.tenancy.registration import Registering
from carrel.tenancy.sign_in import Knock
from carrel.worker.post import sending
from conftest import TenantMaker
from support.brakes import RenewableLimiter
from support.entrance import ACTS, HERE, PASSWORD, PEPPER, WRONG, Entrance
from support.post import Mailbox
from support.rounds import rounds
from support.stand import Stand


@pytest.fixture
def entrance(carrel: Stand) -> Entrance:
    return Entrance(carrel)


# Guessing


@pytest.mark.parametrize("purpose", Purpose)
async def test_of_two_hundred_guesses_at_once_five_are_looked_at(entrance: Entrance, purpose: Purpose) -> None:
    """And then the right one is too late."""
    email, guesses = await entrance.person(), rounds(200, 1000)
    if purpose is Purpose.RESET:
        await entrance.recovery.forgot(email, origin=HERE)
    else:
        email = f"{uuid.uuid4().hex}@people.example"
        await entrance.registration.register(Registering(email, PASSWORD, "Ada", "Acme"), origin=HERE)
    right, before = await entrance.code(email), entrance.codes.evaluated

    async def guess(code: str) -> str:
        try:
            if purpose is Purpose.RESET:
                await entrance.recovery.reset(email, code, WRONG, origin=HERE)
            else:
                await entrance.registration.verify(email, code, origin=HERE)
        except Refusal as refusal:
            return refusal.code
        return "in"

    wrong = [f"{number:06}" for number in range(guesses + 1) if f"{number:06}" != right][:guesses]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(guess(code)) for code in wrong]
    assert {task.result() for task in tasks} == {"invalid_code"}
    assert entrance.codes.evaluated - before == 5
    assert await guess(right) == "invalid_code"


# Equal work


@dataclass(frozen=True)
class Work:
    hashes: int
    transactions: int
    rows: tuple[int, ...]
    answer: str


async def work_of(entrance: Entrance, act: Callable[[], Awaitable[object]]) -> Work:
    before = await _rows(entrance)
    hashes, transactions = entrance.passwords.hashes, entrance.database.transactions
    try:
        answer = repr(await act())
    except Refusal as refusal:
        answer = f"{refusal.code}: {refusal.detail}"
    after = await _rows(entrance)
    grown = tuple(new - old for new, old in zip(after, before, strict=True))
    return Work(entrance.passwords.hashes - hashes, entrance.database.transactions - transactions, grown, answer)


async def _rows(entrance: Entrance) -> list[int]:
    """What was written, counted: a commit with rows takes longer than one without."""
    counted = ("email_codes", "mails", "registrations", "sessions", "users")
    async with entrance.carrel.database.transaction(for_accounts()) as tx:
        counts = [await tx.value(Statement(f"select count(*) from {table}")) for table in counted]
        return [*counts, await tx.value(Statement("select coalesce(sum(attempts), 0) from email_codes"))]


@pytest.mark.parametrize("act", ACTS)
async def test_a_known_address_is_as_much_work_as_an_unknown_one(entrance: Entrance, act: str) -> None:
    known, unknown = await entrance.person(), f"{uuid.uuid4().hex}@people.example"
    if act in {"verify", "reset"}:  # somebody asked for a code for both of them
        ask = entrance.registration.resend if act == "verify" else entrance.recovery.forgot
        await ask(known, origin=HERE)
        await ask(unknown, origin=HERE)
    one = await work_of(entrance, lambda: ACTS[act](entrance, known))
    other = await work_of(entrance, lambda: ACTS[act](entrance, unknown))
    assert one == other
    assert one.hashes == (1 if act in {"register", "sign in"} else 0)
    assert one.transactions == 1


async def test_nothing_is_sent_to_an_address_without_an_account(entrance: Entrance) -> None:
    unknown = f"{uuid.uuid4().hex}@people.example"
    await entrance.recovery.forgot(unknown, origin=HERE)
    await entrance.registration.resend(unknown, origin=HERE)
    await entrance.mailroom.work()
    assert unknown not in {letter.to for letter in entrance.mailbox.letters}


async def test_who_only_comes_in_by_another_issuer_gets_no_password(entrance: Entrance) -> None:
    user, email = uuid.uuid4(), f"{uuid.uuid4().hex}@people.example"
    async with entrance.carrel.database.transaction(for_accounts()) as tx:
        await tx.run(
            Statement("insert into users (id, email, name, verified_at) values (:id, :email, 'A', now())"),
            id=user,
            email=email,
        )
        await tx.run(
            Statement("insert into identities (issuer, subject, user_id) values ('i', :s, :id)"), s=email, id=user
        )
    await entrance.recovery.forgot(email, origin=HERE)
    await entrance.mailroom.work()
    assert email not in {letter.to for letter in entrance.mailbox.letters}


# Brakes


async def test_a_password_is_guessed_ten_times_from_one_network_and_its_owner_still_comes_in(carrel: Stand) -> None:
    entrance = Entrance(carrel, RenewableLimiter())
    email = await entrance.person()

    async def knock(password: str, origin: str) -> str:
        try:
            await entrance.sign_in.by_password(Knock(email, password, None, "", origin))
        except Throttled as refusal:
            return "throttled" if 0 < refusal.wait <= 900 else "throttled too long"
        except Unauthenticated:
            return "wrong"
        return "in"

    assert [await knock(WRONG, HERE) for _ in range(12)] == ["wrong"] * 10 + ["throttled"] * 2
    assert await knock(PASSWORD, HERE) == "throttled"
    assert await knock(PASSWORD, "198.51.100.0/24") == "in"


@pytest.mark.parametrize("act", ["register", "resend", "forgot"])
async def test_mail_is_asked_for_once_a_minute(carrel: Stand, act: str) -> None:
    entrance, email = Entrance(carrel, RenewableLimiter()), f"{uuid.uuid4().hex}@people.example"
    await ACTS[act](entrance, email)
    for other in ("register", "resend", "forgot"):
        with pytest.raises(Throttled) as refusal:
            await ACTS[other](entrance, email)
        assert 0 < refusal.value.wait <= 60


async def test_who_is_stopped_by_ones_own_limit_uses_up_nobody_elses(carrel: Stand) -> None:
    brakes = Brakes(RenewableLimiter(), pepper=PEPPER)
    await brakes.on(Try.MAIL, account="one", origin=HERE)
    for _ in range(200):
        with pytest.raises(Throttled):
            await brakes.on(Try.MAIL, account="one", origin=HERE)
    for number in range(99):
        await brakes.on(Try.MAIL, account=f"other {number}", origin=HERE)
    with pytest.raises(Throttled):
        await brakes.on(Try.MAIL, account="the hundredth", origin=HERE)
    await brakes.on(Try.MAIL, account="the hundredth and first", origin="203.0.113.0/24")


@pytest.mark.parametrize("what", [Try.PASSWORD, Try.MAIL, Try.CODE])
async def test_a_network_without_tries_left_takes_no_place_in_the_counter(what: Try) -> None:
    """However many addresses it names: each would be kept for an hour."""
    counted: set[tuple[str, ...]] = set()

    class Counted(RenewableLimiter):
        async def hit(self, limit: Limit, *key: str, cost: int = 1) -> Standing:
            if cost:
                counted.add(key)
            return await super().hit(limit, *key, cost=cost)

    brakes = Brakes(Counted(), pepper=PEPPER)
    (network,) = [brake for brake in BRAKES[what] if brake.of is Of.ORIGIN]
    for number in range(network.limit.amount):
        await brakes.on(what, account=f"address {number}", origin=HERE)
    before = len(counted)
    for number in range(50):
        with pytest.raises(Throttled):
            await brakes.on(what, account=f"another {number}", origin=HERE)
    assert len(counted) == before


async def test_nobody_comes_in_uncounted(carrel: Stand) -> None:
    class Dead:
        async def hit(self, *_: object, **__: object) -> object:
            raise Unavailable("The limiter does not answer.", code="limiter_unavailable")

    entrance = Entrance(carrel, Dead())  # type: ignore[arg-type]
    for act in ACTS.values():
        with pytest.raises(Unavailable):
            await act(entrance, "a@b.example")
    assert (entrance.database.transactions, entrance.passwords.hashes) == (0, 0)


# Mail that waits


def letter_of(mail: WaitingMail) -> Letter:
    return Letter(mail.id, f"{mail.subject}@people.example", "Hello", "Hello.\n")


async def write(mail: WaitingMail) -> Letter | None:
    return letter_of(mail)


@dataclass
class Post:
    """A mailroom that writes the same letter about everything, and nothing else waits."""

    database: Database
    mailbox: Mailbox = field(default_factory=Mailbox)
    writer: Writer = write

    @property
    def room(self) -> Mailroom:
        return Mailroom(self.database, self.mailbox, dict.fromkeys(MailKind, self.writer))

    async def puts(self, number: int = 1) -> list[uuid.UUID]:
        subjects = [uuid.uuid4() for _ in range(number)]
        async with self.database.transaction(for_accounts()) as tx:
            for subject in subjects:
                await mails.enqueue(tx, MailKind.RESET, subject)
        return subjects

    async def waiting(self) -> list[tuple[int, bool]]:
        """Attempts, and whether it is due, of each that is left."""
        async with self.database.transaction(for_accounts()) as tx:
            rows = await tx.rows(Statement("select attempts, due_at <= now() as due from mails order by created_at"))
        return [(row["attempts"], row["due"]) for row in rows]

    async def hurry(self) -> None:
        async with self.database.transaction(for_accounts()) as tx:
            await tx.run(Statement("update mails set due_at = now()"))


@pytest.fixture
async def post(carrel: Stand) -> Post:
    async with carrel.database.transaction(for_accounts()) as tx:
        await tx.run(Statement("delete from mails"))
    return Post(carrel.database)


async def test_each_letter_is_sent_once_however_many_rooms_there_are(post: Post) -> None:
    subjects = await post.puts(40)
    rooms = [post.room for _ in range(4)]
    await asyncio.gather(*(room.work() for room in rooms))
    assert sorted(letter.to for letter in post.mailbox.letters) == sorted(f"{one}@people.example" for one in subjects)
    assert await post.waiting() == []


async def test_a_letter_that_cannot_be_sent_now_is_sent_later(post: Post) -> None:
    await post.puts()
    post.mailbox.down = True
    await post.room.work()
    assert await post.waiting() == [(1, False)]
    await post.room.work()
    assert await post.waiting() == [(1, False)]
    post.mailbox.down = False
    await post.hurry()
    await post.room.work()
    assert (len(post.mailbox.letters), await post.waiting()) == (1, [])


async def test_a_letter_that_never_goes_is_given_up(post: Post) -> None:
    await post.puts()
    post.mailbox.down = True
    seen = []
    while left := await post.waiting():
        seen.append(left)
        await post.hurry()
        await post.room.work()
    assert len(seen) == 8


async def test_a_letter_whose_worker_died_is_sent_again_under_the_same_name(post: Post) -> None:
    await post.puts()
    written = asyncio.Event()
    letters = []

    async def dies(mail: WaitingMail) -> Letter | None:
        letters.append(letter_of(mail))
        written.set()
        await asyncio.Event().wait()
        return None

    working = asyncio.create_task(Post(post.database, post.mailbox, dies).room.work())
    await written.wait()
    working.cancel()
    await asyncio.wait({working})
    assert await post.waiting() == [(1, False)], "while its lease lasts it is nobody else's"
    await post.hurry()
    await post.room.work()
    assert [letter.id for letter in post.mailbox.letters] == [letters[0].id]


async def test_a_letter_that_kills_each_worker_is_given_up(post: Post) -> None:
    await post.puts()

    async def breaks(_: WaitingMail) -> Letter | None:
        raise RuntimeError("broken")

    room = Post(post.database, post.mailbox, breaks).room
    for _ in range(8):
        with pytest.raises(BaseExceptionGroup):
            await room.work()
        await post.hurry()
    await room.work()
    assert (await post.waiting(), post.mailbox.letters) == ([], [])


async def test_what_nobody_wants_or_nobody_writes_is_dropped(post: Post) -> None:
    async def unwanted(_: WaitingMail) -> Letter | None:
        return None

    await post.puts(2)
    await Post(post.database, post.mailbox, unwanted).room.work()
    async with post.database.transaction(for_accounts()) as tx:
        await tx.run(
            Statement("insert into mails (id, kind, subject_id) values (:id, 'from the future', :id)"), id=uuid.uuid4()
        )
    await post.room.work()
    assert (await post.waiting(), post.mailbox.letters) == ([], [])


async def test_a_tenant_puts_its_own_mail_there_and_sees_none(post: Post, tenant: TenantMaker) -> None:
    place, seen = await tenant(), []

    async def note(mail: WaitingMail) -> Letter | None:
        seen.append(mail.tenant)
        return None

    async with post.database.transaction(for_job(place.id, None)) as tx:
        await mails.enqueue(tx, MailKind.RESET, uuid.uuid4())
        assert await tx.value(Statement("select count(*) from mails")) == 0
        assert await mails.claim(tx, most=5, lease=1) == []
    await post.puts()
    await Post(post.database, post.mailbox, note).room.work()
    assert sorted(seen, key=str) == sorted([place.id, None], key=str)


async def test_mail_that_is_rolled_back_is_not_sent(post: Post) -> None:
    async def changes_its_mind() -> None:
        async with post.database.transaction(for_accounts()) as tx:
            await mails.enqueue(tx, MailKind.RESET, uuid.uuid4())
            raise Invalid("No.")

    with pytest.raises(Invalid):
        await changes_its_mind()
    assert await post.room.work() == 0


async def test_a_worker_looks_for_mail_beside_its_jobs_and_survives_a_broken_letter(post: Post) -> None:
    broken, sent = asyncio.Event(), asyncio.Event()

    async def sometimes(mail: WaitingMail) -> Letter | None:
        if not broken.is_set():
            broken.set()
            raise RuntimeError("broken")
        sent.set()
        return letter_of(mail)

    async with sending(Post(post.database, post.mailbox, sometimes).room, seconds=0.01):
        await post.puts()
        await asyncio.wait_for(broken.wait(), 30)
        await post.hurry()
        await asyncio.wait_for(sent.wait(), 30)

"""Passwords: argon2id in a few threads, the same work for who is not known, and which words are too weak.

The parameters are OWASP's second choice (19 MiB, two passes, one lane): a guess costs an attacker what it costs us.
"""

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Final

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from carrel.domain.errors import Invalid

SHORTEST: Final = 10
LONGEST: Final = 128

_PASSES: Final = 2
_MEMORY: Final = 19 * 1024  # KiB
_AT_ONCE: Final = 2  # each holds the memory above, and a core

# Of the most used ones, those that are long enough to get this far; compared in small letters.
_COMMON: Final = frozenset(
    """
    1234567890 12345678910 123456789a 1234567891 0123456789 9876543210 0987654321 1111111111 0000000000 1q2w3e4r5t
    1qaz2wsx3edc 1q2w3e4r5t6y qwertyuiop qwerty12345 qwerty123456 qwerty1234 asdfghjkl1 asdfghjkl; zxcvbnm123
    password12 password123 password1234 password12345 passw0rd123 p@ssw0rd123 p@ssword123 mypassword mypassword1
    password01 password00 passwordpassword iloveyou12 iloveyou123 iloveyou1234 welcome123 welcome1234 welcome2024
    welcome2025 welcome2026 admin12345 admin123456 administrator letmein123 letmein1234 changeme123 changeme1234
    football123 baseball123 basketball superman123 batman12345 princess123 sunshine123 dragon12345 monkey12345
    charlie123 michael123 abcdefghij abcdefghijk abc1234567 abc123456789 abcd123456 a123456789 aa12345678
    aa123456789 qazwsxedcrfv 1qazxsw23edc q1w2e3r4t5 q1w2e3r4t5y6 zaq12wsxcde3 aaaaaaaaaa trustno1trustno1
    correcthorsebatterystaple test123456 testtest123 computer123 internet123 starwars123 pokemon123 secret1234
    summer2024 summer2025 summer2026 winter2024 winter2025 winter2026 spring2025 spring2026 autumn2025
""".split()  # noqa: SIM905 - a line for each would hide them
)


class Passwords:
    """Hashes and compares, `at_once` at a time: more would need more memory and no less time."""

    def __init__(self, *, passes: int = _PASSES, memory: int = _MEMORY, at_once: int = _AT_ONCE) -> None:
        """`memory` in KiB."""
        self._hasher = PasswordHash((Argon2Hasher(time_cost=passes, memory_cost=memory, parallelism=1),))
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")

    async def hash(self, password: str) -> str:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, one_form(password))

    async def proves(self, password: str, hashed: str | None) -> bool:
        """Takes as long when there is no hash."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._judge, one_form(password), hashed)

    def _judge(self, password: str, hashed: str | None) -> bool:
        nobodys = self._nobodys  # also when it is not needed: else the first unknown person would take longer
        try:
            return self._hasher.verify(password, nobodys if hashed is None else hashed) and hashed is not None
        except UnknownHashError:
            return False

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash("nobody's password")


def one_form(password: str) -> str:
    """However a keyboard composes its letters (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def demand_strength(password: str, *, email: str, field: str = "password") -> None:
    """Length, and neither a common one nor the address; no rules of composition. Raises Invalid `weak_password`."""
    formed = one_form(password)
    if not SHORTEST <= len(formed) <= LONGEST:
        raise _weak(f"A password has {SHORTEST} to {LONGEST} characters.", field)
    plain = formed.strip().lower()
    if plain in _COMMON or len(set(plain)) == 1:
        raise _weak("This password is one of those that are tried first.", field)
    if plain in {email, email.partition("@")[0]}:
        raise _weak("The address is no password.", field)


def _weak(sentence: str, field: str) -> Invalid:
    return Invalid(sentence, code="weak_password", field=field)

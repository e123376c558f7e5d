"""What works for a process that yields to others yields to them too.

`nice` compares processes within one session only, where the kernel groups them by session (autogroup, sched(7)), and
each server process of PostgreSQL is a session of its own. So the group is told as well.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_TRIES: Final = 5
_PAUSE: Final = 0.11  # seconds: unless it is root, the kernel lets one write in a tenth of a second through


async def yield_like_us(server: int) -> None:
    """Let a server process on this machine yield as much as this one does. What may not be done is left undone."""
    niceness = os.nice(0)
    if niceness <= 0:
        return
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, server, niceness)
    with suppress(OSError):
        for _ in range(_TRIES):
            if _told_the_group(server, niceness):
                break
            await asyncio.sleep(_PAUSE)


def _told_the_group(server: int, niceness: int) -> bool:
    """False when the kernel wants to be asked again. Raises OSError."""
    try:
        Path(f"/proc/{server}/autogroup").write_text(str(niceness), "ascii")
    except BlockingIOError:
        return False
    return True

"""Threads of a process that yields leave others every core; those of one that does not are like any other."""

import subprocess
import sys

import pytest

POLICIES = """
import asyncio, os
from carrel.adapters.embedders.minilm.pool import FairPool

async def main():
    os.nice({niceness})
    pool = FairPool(1, name="tried")
    print(await pool.start(None, lambda: os.sched_getscheduler(0)), os.sched_getscheduler(0))
    pool.close()

asyncio.run(main())
"""
OTHER, IDLE = 0, 5  # sched(7)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a policy")
@pytest.mark.parametrize(("niceness", "policy"), [(0, OTHER), (10, IDLE)])
def test_threads_yield_more_than_their_process_where_it_yields(niceness: int, policy: int) -> None:
    code = POLICIES.format(niceness=niceness)
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.split() == [str(policy), str(OTHER)]

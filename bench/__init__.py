"""Instruments: `python -m bench [ROW …]` measures speed, memory and growth, and says which number did not hold.

A row is a module with `run(bench) -> list[Row]`, plain or async. Each runs in a process and a fresh `CARREL_HOME` of
its own, so that no row warms another.
"""

"""The small evaluation: `python -m bench.evaluation DATA_DIR` measures retrieval and refusal on the labelled sets.

It shares the lying index with the tests, which lie in a folder that is no package.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

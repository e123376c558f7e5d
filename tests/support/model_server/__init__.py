"""A provider of paid models on loopback: it speaks their wires over real HTTP, behaves as told, and keeps count.

    async with a_model_server() as server:
        server.scripts["gpt-mine"] = Script(ends=Ending.CUT, after=7)
        client = AsyncOpenAI(api_key="any", base_url=server.openai)
        ...
        assert server.heard[-1].output_tokens == 7

A model's name says how it behaves (`server.scripts`, which begin as `by_name` in scripts.py). A request goes this way:
http.py reads it, a wire (openai.py, anthropic.py, ollama.py, bedrock.py) understands it, voices.py thinks of a text,
and server.py says it piece by piece in the script's manner, writing down in record.py what it was told and has said.

`python -m support.model_server --port 9000 --first-token-ms 200 --tokens-per-second 50` is the same as a process.
"""

from support.model_server.record import Heard
from support.model_server.scripts import BEFORE, Ending, Fault, Hold, Page, Script, Signal, by_name
from support.model_server.server import ModelServer, a_model_server
from support.model_server.voices import embedding, pieces, tokens

__all__ = [
    "BEFORE",
    "Ending",
    "Fault",
    "Heard",
    "Hold",
    "ModelServer",
    "Page",
    "Script",
    "Signal",
    "a_model_server",
    "by_name",
    "embedding",
    "pieces",
    "tokens",
]

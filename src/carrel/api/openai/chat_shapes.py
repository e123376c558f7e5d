"""Chat completions over the wire."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from carrel.api.complaints import wrong
from carrel.api.schemas.answers import HitView, ModelProblemView
from carrel.api.schemas.types import Asked, Flag, Identifier, Name, Text
from carrel.ask.pipeline import ChatWish
from carrel.domain.answers import Answer, AnswerStatus, Citation, Remembered, Usage
from carrel.domain.chats import Turn
from carrel.domain.ids import BotId, ChatId

_MOST_MESSAGES: Final = 1_000
_LONGEST_INSTRUCTIONS: Final = 8_000
_MOST_PAIRS: Final = 16


def _none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _not_done(value: Any) -> Any:
    if value not in (None, [], {}, "none", False):
        raise wrong("unsupported_parameter", "An answer here is text from documents, and nothing else.")
    return value


def _plain_text(value: Any) -> Any:
    if value is not None and value != {"type": "text"}:
        raise wrong("unsupported_parameter", "An answer here is plain text.")
    return value


def _text_alone(value: Any) -> Any:
    if value is not None and value != ["text"]:
        raise wrong("unsupported_parameter", "An answer here is text.")
    return value


NotDone = Annotated[Any, AfterValidator(_not_done), Field(description="Not supported: null, `none` or nothing in it.")]
Taken = Annotated[Any, Field(description="Taken and not used.")]


class TextContent(Asked):
    """The only kind of part that is read."""

    type: Literal["text", "refusal"]
    text: Text = ""
    refusal: Text = ""


def _in_parts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


Parts = Annotated[list[TextContent], BeforeValidator(_in_parts, json_schema_input_type=Text | list[TextContent])]


class SaidMessage(Asked):
    """The last one, by `user`, is the question. What others said is what a question may rest on, and no evidence."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[Parts | None, Field(description="Text, or parts that are text.")] = None
    name: Taken = None
    refusal: Taken = None
    annotations: Taken = None
    audio: NotDone = None
    tool_calls: Taken = None
    tool_call_id: Taken = None
    function_call: Taken = None

    @property
    def said(self) -> str:
        return "\n".join(part.text or part.refusal for part in self.content or ())


class StreamOptions(Asked):
    include_usage: Flag = False
    include_obfuscation: Flag = False


class Talk(Asked):
    """`metadata`: what goes on with a kept chat, and for whom; all else in it is taken and not kept."""

    chat_id: Identifier | None = None
    end_user: Annotated[Name | None, BeforeValidator(_none)] = None


def _talk(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if len(value) > _MOST_PAIRS or not all(isinstance(one, str) for one in value.values()):
        raise wrong("invalid", f"At most {_MOST_PAIRS} texts with names.")
    return {name: text for name, text in value.items() if name in Talk.model_fields and text}


class CompletionRequest(Asked):
    messages: Annotated[list[SaidMessage], Field(min_length=1, max_length=_MOST_MESSAGES)]
    model: Annotated[Text, Field(max_length=200, description="A bot's name or id, or `carrel`.")]
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    metadata: Annotated[Talk | None, BeforeValidator(_talk)] = None
    user: Annotated[Name | None, BeforeValidator(_none), Field(description="Your own name for who asks.")] = None
    safety_identifier: Annotated[Name | None, BeforeValidator(_none)] = None
    n: Annotated[Literal[1] | None, Field(description="There is one answer.")] = None
    response_format: Annotated[Any, AfterValidator(_plain_text)] = None
    modalities: Annotated[Any, AfterValidator(_text_alone)] = None
    audio: NotDone = None
    function_call: NotDone = None
    functions: NotDone = None
    logprobs: NotDone = None
    stop: NotDone = None
    tool_choice: Annotated[Any, Field(description="Taken and not used: there are no tools.")] = None
    tools: NotDone = None
    top_logprobs: NotDone = None
    web_search_options: NotDone = None
    frequency_penalty: Taken = None
    logit_bias: Taken = None
    max_completion_tokens: Taken = None
    max_tokens: Taken = None
    moderation: Taken = None
    parallel_tool_calls: Taken = None
    prediction: Taken = None
    presence_penalty: Taken = None
    prompt_cache_key: Taken = None
    prompt_cache_options: Taken = None
    prompt_cache_retention: Taken = None
    reasoning_effort: Taken = None
    seed: Taken = None
    service_tier: Taken = None
    store: Taken = None
    temperature: Taken = None
    top_p: Taken = None
    verbosity: Taken = None

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> "CompletionRequest":
        if len(self._instructions()) > _LONGEST_INSTRUCTIONS:
            raise wrong("too_long", f"Instructions have at most {_LONGEST_INSTRUCTIONS:,} characters together.")
        return self

    def wish(self, bot: BotId | None) -> ChatWish:
        talk = self.metadata or Talk()
        return ChatWish(
            message=self.messages[-1].said if self.messages[-1].role == "user" else "",
            bot=bot,
            chat=None if talk.chat_id is None else ChatId(talk.chat_id),
            end_user=talk.end_user or self.safety_identifier or self.user,
            said=_turns(self.messages[:-1]),
            instructions=self._instructions(),
        )

    def _instructions(self) -> str:
        return "\n\n".join(one.said for one in self.messages if one.role in {"system", "developer"} and one.said)


def _turns(messages: Sequence[SaidMessage]) -> tuple[Turn, ...]:
    """Each question with what was answered to it; other voices are not heard."""
    turns: list[Turn] = []
    for message in messages:
        if message.role == "user" and message.said.strip():
            turns.append(Turn(message.said, ""))
        elif message.role == "assistant" and turns:
            last = turns[-1]
            turns[-1] = Turn(last.question, f"{last.answer}\n{message.said}".strip())
    return tuple(turns)


class FileCitation(BaseModel):
    """`[n]` in the answer, and the passage that it names; `index` is where it first stands."""

    type: Literal["file_citation"] = "file_citation"
    index: int
    file_id: str
    filename: str
    n: int
    title: str
    key: str
    heading_path: list[str]
    page: int | None
    line: int | None
    excerpt: str
    chunk_id: UUID
    document_id: UUID
    version_id: UUID
    source_id: UUID

    @classmethod
    def of(cls, citation: Citation, text: str) -> "FileCitation":
        passage = citation.passage
        return cls(
            index=max(text.find(f"[{citation.n}]"), 0),
            file_id=str(passage.document),
            filename=passage.key,
            n=citation.n,
            title=passage.title,
            key=passage.key,
            heading_path=list(passage.heading_path),
            page=passage.page,
            line=passage.line,
            excerpt=citation.excerpt,
            chunk_id=passage.chunk,
            document_id=passage.document,
            version_id=passage.version,
            source_id=passage.source,
        )


class Told(BaseModel):
    """What this API has no words for. `evidence` is there where the answer is no answer of the model's."""

    status: AnswerStatus
    chat_id: UUID
    message_id: UUID
    guidance: list[str]
    problem: ModelProblemView | None
    asked: str | None
    grounding: float | None
    unsupported: list[str]
    evidence: list[HitView]

    @classmethod
    def of(cls, remembered: Remembered) -> "Told":
        answer = remembered.answer
        shown = () if answer.status is AnswerStatus.ANSWERED else answer.evidence
        return cls(
            status=answer.status,
            chat_id=remembered.chat,
            message_id=remembered.message,
            guidance=list(answer.guidance),
            problem=ModelProblemView.of(answer.problem),
            asked=answer.asked,
            grounding=answer.grounding,
            unsupported=list(answer.unsupported),
            evidence=[HitView.of(passage) for passage in shown],
        )


class CompletionUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, usage: Usage) -> "CompletionUsage":
        return cls(
            prompt_tokens=usage.input_tokens,
            completion_tokens=usage.output_tokens,
            total_tokens=usage.input_tokens + usage.output_tokens,
        )


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[FileCitation]


class Choice(BaseModel):
    index: Literal[0] = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: Literal["stop"] = "stop"


class Completion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    carrel: Told

    @classmethod
    def of(cls, remembered: Remembered, model: str) -> "Completion":
        answer = remembered.answer
        message = AnswerMessage(content=answer.text, annotations=cited(answer))
        return cls(
            id=f"chatcmpl-{remembered.message}",
            created=int(time.time()),
            model=model,
            choices=[Choice(message=message)],
            usage=CompletionUsage.of(answer.usage),
            carrel=Told.of(remembered),
        )


class ChunkDelta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None
    annotations: list[FileCitation] | None = None


class ChunkChoice(BaseModel):
    index: Literal[0] = 0
    delta: ChunkDelta
    logprobs: None = None
    finish_reason: Literal["stop"] | None = None


class CompletionChunk(BaseModel):
    """One event of a stream; the last with a choice has the citations and `carrel`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None
    carrel: Told | None = None


def cited(answer: Answer) -> list[FileCitation]:
    return [FileCitation.of(citation, answer.text) for citation in answer.citations]

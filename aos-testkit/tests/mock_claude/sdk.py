"""The official Python SDK against the mock, as anybody would use it.

Arguments: base URL and key. The answers are those of `sdks.rs`. The last line is JSON: for each request id of a whole
answer its input and output tokens.
"""

import asyncio
import json
import sys

import anthropic
import pydantic

MODEL = "claude-sonnet-4-6"
TOOL = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
        "required": ["city", "days"],
    },
}

client = anthropic.Anthropic(base_url=sys.argv[1], api_key=sys.argv[2])
once = client.with_options(max_retries=0)
seen = {}


def ask(text, **more):
    return {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **more}


def note(message, request_id=None):
    seen[request_id or message._request_id] = [message.usage.input_tokens, message.usage.output_tokens]
    return message


def fails(error, call):
    try:
        call()
    except Exception as found:
        assert type(found) is error, f"expected {error.__name__}, found {type(found).__name__}: {found}"
        return found
    raise AssertionError(f"expected {error.__name__}, found an answer")


def messages():
    message = note(client.messages.create(**ask("hello", system="short")))
    assert message.content[0].text == "Echo: hello"
    assert message.stop_reason == "end_turn" and message.model == MODEL and message.role == "assistant"
    assert message._request_id.startswith("req_011")
    stopped = note(client.messages.create(**ask("one two", stop_sequences=["two"])))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "two")
    cut = note(client.messages.create(**ask("a long answer") | {"max_tokens": 2}))
    assert cut.stop_reason == "max_tokens" and cut.usage.output_tokens == 2
    beta = client.beta.messages.create(**ask("beta"), betas=["interleaved-thinking-2025-05-14"])
    assert note(beta).content[0].text == "Echo: beta"


def streaming():
    with client.messages.stream(**ask("stream this", thinking={"type": "adaptive"})) as stream:
        text = "".join(stream.text_stream)
        message = note(stream.get_final_message(), stream.request_id)
    assert text == "Echo: stream this"
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "I have to repeat: stream this" and message.content[0].signature
    assert message.stop_reason == "end_turn"
    raw = list(client.messages.create(**ask("raw"), stream=True))
    assert raw[0].type == "message_start" and raw[-1].type == "message_stop"


def tools():
    forced = ask("forced", tools=[TOOL], tool_choice={"type": "tool", "name": "weather"})
    for call in [lambda: note(client.messages.create(**forced)), lambda: note(*streamed(forced))]:
        message = call()
        use = message.content[-1]
        assert (use.type, use.name, message.stop_reason) == ("tool_use", "weather", "tool_use")
        assert isinstance(use.input["city"], str) and 1 <= use.input["days"] <= 7
    result = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]
    turns = forced["messages"] + [message.to_param(), {"role": "user", "content": result}]
    answer = note(client.messages.create(**ask("", tools=[TOOL]) | {"messages": turns}))
    assert answer.content[0].text == "Echo: sunny"

    asked = []

    @anthropic.beta_tool
    def weather(city: str, days: int) -> str:
        """The weather of a city.

        Args:
            city: Which one
            days: How many days ahead
        """
        asked.append((city, days))
        return f"{days} days of sun in {city}"

    runner = client.beta.messages.tool_runner(**ask("weather in Rome?"), tools=[weather])
    assert runner.until_done().content[0].text == "Echo: 3 days of sun in Rome"
    assert asked == [("Rome", 3)]


def streamed(request):
    with client.messages.stream(**request) as stream:
        return stream.get_final_message(), stream.request_id


def structured():
    class Trip(pydantic.BaseModel):
        city: str
        days: int

    message = note(client.messages.parse(**ask("a trip"), output_format=Trip))
    assert isinstance(message.parsed_output, Trip)
    with client.messages.stream(**ask("a trip"), output_format=Trip) as stream:
        assert isinstance(note(stream.get_final_message(), stream.request_id).parsed_output, Trip)


def counting_and_models():
    usage = note(client.messages.create(**ask("how many?"))).usage
    counted = client.messages.count_tokens(model=MODEL, messages=ask("how many?")["messages"])
    assert counted.input_tokens == usage.input_tokens
    models = list(client.models.list(limit=3))
    assert len(models) > 3 and len({model.id for model in models}) == len(models)
    model = client.models.retrieve("claude-opus-5-5")
    assert model.max_tokens == 128000 and not model.capabilities.thinking.types.disabled.supported
    fails(anthropic.NotFoundError, lambda: client.models.retrieve("claude-none"))


def errors():
    # In the order of `ApiError::documented`.
    spend_limit = anthropic._error_classes.ERROR_CLASSES[(429, "enforced_spend_limit_reached")]
    documented = [
        (anthropic.BadRequestError, "invalid_request_error"),
        (anthropic.BadRequestError, "invalid_request_error"),
        (anthropic.AuthenticationError, "authentication_error"),
        (anthropic.PaymentRequiredError, "billing_error"),
        (anthropic.PermissionDeniedError, "permission_error"),
        (anthropic.NotFoundError, "not_found_error"),
        (anthropic.ConflictError, "conflict_error"),
        (anthropic.ContentTooLargeError, "request_too_large"),
        (anthropic.RateLimitError, "rate_limit_error"),
        (spend_limit, "rate_limit_error"),
        (anthropic.InternalServerError, "api_error"),
        (anthropic.ServiceUnavailableError, "api_error"),
        (anthropic.GatewayTimeoutError, "timeout_error"),
        (anthropic.OverloadedError, "overloaded_error"),
    ]
    for number, (error, kind) in enumerate(documented):
        found = fails(error, lambda: once.messages.create(**ask(f"error {number}.")))
        assert found.type == kind and found.request_id == found.body["request_id"], found
    assert spend_limit is not anthropic.RateLimitError
    fails(anthropic.BadRequestError, lambda: client.messages.create(**ask("x") | {"messages": []}))
    fails(anthropic.NotFoundError, lambda: client.messages.create(**ask("x") | {"model": "claude-none"}))
    wrong = anthropic.Anthropic(base_url=sys.argv[1], api_key="wrong")
    fails(anthropic.AuthenticationError, lambda: wrong.messages.create(**ask("x")))
    page = fails(anthropic.InternalServerError, lambda: once.messages.create(**ask("html")))
    assert page.status_code == 502 and "Bad Gateway" in page.message
    found = fails(anthropic.APIStatusError, lambda: list(client.messages.create(**ask("error event"), stream=True)))
    assert found.type == "overloaded_error"
    try:
        streamed(ask("cut"))
    except Exception:
        pass
    else:
        raise AssertionError("a stream that was cut passed for a whole one")


def retries():
    for text in ["retry rate limit", "retry overloaded", "retry reset", "retry because told to"]:
        assert note(client.messages.create(**ask(text))).content[0].text == f"Echo: {text}"
    fails(anthropic.OverloadedError, lambda: client.messages.create(**ask("do not retry")))
    fails(anthropic.APITimeoutError, lambda: once.with_options(timeout=0.2).messages.create(**ask("timeout")))


def unknown():
    message = note(client.messages.create(**ask("unknown")))
    assert message.content[0].type == "hologram" and message.stop_reason == "tea_break"
    message = note(*streamed(ask("unknown")))
    assert message.content[1].text == "known" and message.stop_reason == "tea_break"
    message = note(*streamed(ask("late usage")))
    assert message.usage.cache_read_input_tokens == 300 and message.usage.cache_creation_input_tokens == 54000


async def asynchronous():
    async with anthropic.AsyncAnthropic(base_url=sys.argv[1], api_key=sys.argv[2]) as aio:
        answers = await asyncio.gather(*(aio.messages.create(**ask(f"number {n}")) for n in range(20)))
        for number, answer in enumerate(answers):
            assert note(answer).content[0].text == f"Echo: number {number}"
        async with aio.messages.stream(**ask("async")) as stream:
            assert (await stream.get_final_text()) == "Echo: async"


for part in [messages, streaming, tools, structured, counting_and_models, errors, retries, unknown]:
    part()
asyncio.run(asynchronous())
print(json.dumps(seen))

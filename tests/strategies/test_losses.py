"""What is left of a request when a loss is allowed."""

from __future__ import annotations

from wizard_dsl.core.messages import Image, Message, Request, Text, ToolCall, message
from wizard_dsl.core.target import Facts
from wizard_dsl.strategies._losses import adapted, is_open_minded

PICTURE = Image("https://example.com/a.png")


def test_messages_without_images_are_untouched_and_empty_ones_are_dropped_unless_they_call_tools() -> None:
    calling = Message("assistant", (PICTURE,), tool_calls=(ToolCall("1", "look"),))
    request = Request(
        messages=(message("user", "x"), Message("user", (PICTURE, Text("y"))), Message("user", (PICTURE,)), calling)
    )
    kept = adapted(Facts(), request, ("images",)).messages
    assert kept == (message("user", "x"), message("user", "y"), Message("assistant", (), calling.tool_calls))


def test_the_systems_text_goes_into_the_first_user_message_wherever_it_stands() -> None:
    request = Request(messages=(message("assistant", "hi"), message("user", "x"), message("system", "s")))
    kept = adapted(Facts(), request, ("system",)).messages
    assert [(each.role, each.text) for each in kept] == [("assistant", "hi"), ("user", "s\n\nx")]


def test_without_a_loss_the_request_is_the_same_object() -> None:
    request = Request(messages=(message("user", "x"),))
    assert adapted(Facts(), request, ()) is request


def test_a_target_of_which_nothing_restricting_is_known_needs_no_check() -> None:
    assert is_open_minded(Facts()) and is_open_minded(Facts(tools=True, images=True))
    assert not is_open_minded(Facts(context=1)) and not is_open_minded(Facts(streaming=False))

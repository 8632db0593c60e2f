from __future__ import annotations

from typing import Any

import pytest

from wizard_dsl.core.errors import StepFailed
from wizard_dsl.core.messages import Image, Message, Text, message
from wizard_dsl.prompts.messages import Prompt, compile_prompt, file_messages, inline_messages
from wizard_dsl.prompts.names import Known
from wizard_dsl.prompts.promptfile import PromptFile, parse_prompt_file
from wizard_dsl.prompts.template import bind

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def prompt(definition: dict[str, Any]) -> Prompt:
    sources, problems = inline_messages(definition)
    assert problems == []
    made = compile_prompt(sources, where="prompts.p")
    assert isinstance(made, Prompt), made
    return made


def from_file(text: str) -> Prompt:
    parsed = parse_prompt_file(text)
    assert isinstance(parsed, PromptFile)
    made = compile_prompt(file_messages(parsed), where="prompts.p")
    assert isinstance(made, Prompt), made
    return made


def test_system_and_user_become_messages() -> None:
    made = prompt({"user": "{{ ticket }}\n", "system": "Sort.\n", "params": {"temperature": 0}, "tools": ["{{ x }}"]})
    assert made.render(bind({"ticket": "help"})) == (message("system", "Sort."), message("user", "help"))
    assert made.names == {"ticket"}


def test_few_shot_messages_keep_their_order() -> None:
    entries = [
        {"role": role, "content": text} for role, text in (("user", "1"), ("assistant", "2"), ("user", "{{ a }}"))
    ]
    assert [(each.role, each.text) for each in prompt({"messages": entries}).render(bind({"a": 3}))] == [
        ("user", "1"),
        ("assistant", "2"),
        ("user", "3"),
    ]


def test_constant_messages_are_made_once() -> None:
    made = prompt({"system": "Sort.", "user": "{{ a }}"})
    assert made.render(bind({"a": 1}))[0] is made.render(bind({"a": 2}))[0]


def test_a_system_message_that_renders_to_nothing_is_left_out() -> None:
    made = prompt({"system": "{% if strict %}Be strict.{% endif %}\n \n", "user": "x"})
    assert [each.role for each in made.render(bind({"strict": False}))] == ["user"]
    assert [each.role for each in made.render(bind({"strict": True}))] == ["system", "user"]


def test_a_user_message_stays_even_when_it_is_empty() -> None:
    assert prompt({"user": "{{ a }}"}).render(bind({"a": ""})) == (message("user", ""),)


@pytest.mark.parametrize("url", [PIXEL, "https://example.org/a.png?x=1"])
def test_images_are_parts(url: str) -> None:
    made = prompt({"user": [{"text": "What is {{ a }}?"}, {"image": "{{ photo }}"}, {"image": PIXEL}]})
    assert made.has_images
    assert made.render(bind({"a": "it", "photo": url})) == (
        Message("user", (Text("What is it?"), Image(url), Image(PIXEL))),
    )


def test_an_image_may_be_larger_than_a_text() -> None:
    photo = PIXEL + "A" * (2 << 20)
    (made,) = prompt({"user": [{"image": "{{ photo }}"}]}).render(bind({"photo": photo.replace("=", "A")}))
    assert made.has_image


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://x.org/a.png",
        "file:///etc/passwd",
        "data:text/html,x",
        "https://",
        "ftp://x",
        "/a.png",
        "javascript:x",
    ],
)
def test_anything_else_is_no_image(url: str) -> None:
    with pytest.raises(StepFailed, match="an image is an https: URL") as caught:
        prompt({"user": [{"image": "{{ photo }}"}]}).render(bind({"photo": url}))
    assert caught.value.where == "prompts.p.user[0].image"
    sources, _ = inline_messages({"user": [{"image": url}]})
    found = compile_prompt(sources)
    assert isinstance(found, list)
    assert [(each.kind, each.path) for each in found] == [("image", ("user", 0, "image"))]


def test_problems_carry_the_path_of_their_template() -> None:
    sources, _ = inline_messages(
        {
            "messages": [
                {"role": "user", "content": "{{ a"},
                {"role": "user", "content": [{"text": "x"}, {"text": "\n{{ b }}"}]},
            ]
        }
    )
    found = compile_prompt(sources, Known())
    assert isinstance(found, list)
    assert [(each.path, each.line, each.kind) for each in found] == [
        (("messages", 0, "content"), 1, "syntax"),
        (("messages", 1, "content", 1, "text"), 2, "undefined"),
    ]


def test_names_are_checked_where_a_prompt_is_used() -> None:
    made = prompt({"system": "{{ a }}", "user": "{{ steps.x.json }}"})
    found = made.problems(Known(inputs=frozenset({"a"})))
    assert [(each.path, each.kind) for each in found] == [(("user",), "step")]
    assert (made.step_refs, made.step_fields) == ({"x"}, {("x", "json")})


def test_untrusted_names_are_looked_for_in_system_messages_only() -> None:
    made = prompt({"system": "{{ lang }}\n{{ ticket }}", "user": "{{ ticket }}"})
    found = made.untrusted(frozenset({"lang"}))
    assert [(each.path, each.line, each.name) for each in found] == [(("system",), 2, "ticket")]


def test_places_in_a_file_are_lines_of_the_file() -> None:
    made = from_file("---\nparams: {}\n---\n# system\nx {{ ticket }}\n# user\n\n\ny\n{{ doc.z }}\n")
    assert [each.line for each in made.untrusted(frozenset())] == [5]
    assert [each.line for each in made.problems(Known(inputs=frozenset({"ticket"})))] == [10]
    with pytest.raises(StepFailed, match="line 10 of the template: no key 'z'"):
        made.render(bind({"ticket": "t", "doc": {"a": 1}}))


@pytest.mark.parametrize(
    ("definition", "path", "words"),
    [
        ({}, (), "no message"),
        ({"messages": []}, (), "no message"),
        ({"messages": "x"}, ("messages",), "list"),
        ({"messages": [], "user": "x"}, (), "not both"),
        ({"messages": ["x"]}, ("messages", 0), "role and content"),
        ({"messages": [{"role": "usr", "content": "x"}]}, ("messages", 0, "role"), "not 'usr'"),
        ({"messages": [{"role": 1, "content": "x"}]}, ("messages", 0, "role"), "not 1"),
        ({"messages": [{"role": [], "content": "x"}]}, ("messages", 0, "role"), "not []"),
        ({"user": 3}, ("user",), "text, or a list"),
        ({"user": []}, ("user",), "text, or a list"),
        ({"user": ["x"]}, ("user", 0), "a part is"),
        ({"user": [{"text": "x", "image": "y"}]}, ("user", 0), "a part is"),
        ({"user": [{"text": 1}]}, ("user", 0), "a part is"),
    ],
)  # fmt: skip
def test_a_wrong_form_is_a_problem_with_its_path(
    definition: dict[str, Any], path: tuple[object, ...], words: str
) -> None:
    _, (found,) = inline_messages(definition)
    assert (found.kind, found.path) == ("shape", path)
    assert words in found.message


def test_a_mistyped_role_has_a_suggestion() -> None:
    _, (found,) = inline_messages({"messages": [{"role": "asistant", "content": "x"}]})
    assert found.suggestion == "assistant"

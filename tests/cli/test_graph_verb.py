"""wizard graph: the same program drawn in four languages."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli_kit import Wizard
from syrupy.assertion import SnapshotAssertion

from wizard_dsl.cli._drawing import levels

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("form", ["ascii", "mermaid", "dot", "svg"])
@pytest.mark.parametrize("name", ["triage", "parts"])
def test_a_program_is_drawn(wizard: Wizard, approved: SnapshotAssertion, name: str, form: str) -> None:
    code, out, err = wizard("graph", f"{name}.yaml", "--format", form)
    assert (code, err) == (0, "")
    assert out == approved


def test_json_is_the_compiled_program(wizard: Wizard) -> None:
    described = json.loads(wizard("graph", "triage.yaml", "--format", "json").out)
    assert [step["name"] for step in described["steps"]] == ["topic", "reply"]
    assert [target["name"] for target in described["chains"]["writer"]["targets"]] == ["openai/gpt-4o", "local"]


def test_what_a_step_brings_to_its_chain_is_drawn_where_it_stands(wizard: Wizard, tmp_path: Path) -> None:
    steps = "  one: {prompt: {user: Hi}, output: {schema: {type: object}}}\n  two: {prompt: {user: Hi}}\n"
    head = "version: 1\nproviders: {local: {type: mock}}\n"
    chain = "chains: {default: {targets: [local], policies: {use: none, cache: 1h, deadline: 9s}}}\n"
    path = tmp_path / "own.yaml"
    path.write_text(f"{head}{chain}safety: {{block_when: text == 'no'}}\nsteps:\n{steps}")
    out = wizard("graph", str(path), "--format", "ascii").out
    assert "chain default\n  safety > deadline > cache > contract (one)\n  sequential\n" in out
    described = json.loads(wizard("graph", str(path), "--format", "json").out)
    kinds = [[policy["kind"] for policy in step["policies"]] for step in described["steps"]]
    assert kinds == [["contract", "safety"], ["safety"]]
    path.write_text(f"{head}{chain}steps:\n{steps.splitlines()[0]}\n")
    assert "  deadline > cache > contract\n" in wizard("graph", str(path), "--format", "ascii").out


def test_an_overlay_and_a_setting_change_the_drawing(wizard: Wizard) -> None:
    out = wizard("graph", "triage.yaml", "--overlay", "fast.overlay.yaml", "--set", "policies.default.retry=off").out
    assert "cache" not in out
    assert (
        "chain cheap\n  contract\n  with retry_budget\n  sequential\n  +- 1. openai/gpt-4o-mini\n  |     rate_limit"
        in out
    )


def test_a_wrong_file_is_told_on_stderr(wizard: Wizard) -> None:
    code, out, err = wizard("graph", "wrong.yaml")
    assert (code, out) == (3, "")
    assert "wrong.yaml:4:30 error[E021]" in err


def test_labels_cannot_leave_their_quotes(wizard: Wizard) -> None:
    mermaid = wizard("graph", "parts.yaml", "--format", "mermaid").out
    assert "one #quot;quoted#quot; #lt;b#gt;" in mermaid
    assert all(line.count('"') % 2 == 0 for line in mermaid.splitlines())
    dot = wizard("graph", "parts.yaml", "--format", "dot").out
    assert r"one \"quoted\" <b>" in dot


def test_mermaid_ids_are_no_words_of_its_own(wizard: Wizard) -> None:
    ids = re.findall(r"^\s*(\w+)[\[(]", wizard("graph", "parts.yaml", "--format", "mermaid").out, re.MULTILINE)
    assert "step_end" in ids
    assert all(each.startswith(("step_", "chain_")) for each in ids)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_it(wizard: Wizard) -> None:
    out = wizard("graph", "parts.yaml", "--format", "dot").out
    subprocess.run(["dot", "-Tcanon"], input=out, text=True, check=True, capture_output=True)


def test_a_level_is_one_more_than_what_it_needs() -> None:
    steps = [
        {"name": "a", "needs": {}},
        {"name": "b", "needs": {}},
        {"name": "c", "needs": {"a": "done"}},
        {"name": "d", "needs": {"c": "done", "b": "ran"}},
    ]
    assert levels(steps) == {"a": 1, "b": 1, "c": 2, "d": 3}


def test_an_svg_is_one_document_that_asks_for_nothing(wizard: Wizard) -> None:
    out = wizard("graph", "parts.yaml", "--format", "svg").out
    root = ElementTree.fromstring(out)
    assert (root.tag, root[0].text) == (f"{SVG}svg", "parts (at most 10m)")
    assert "one &quot;quoted&quot; &lt;b&gt;" in out
    assert re.findall(r"(?:href|src|url\()[^#]{0,3}http|@import|<script", out) == []


def test_boxes_of_an_svg_lie_inside_it_and_beside_each_other(wizard: Wizard) -> None:
    for name in ("triage", "parts"):
        root = ElementTree.fromstring(wizard("graph", f"{name}.yaml", "--format", "svg", "--plan").out)
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        boxes = [_sides(each) for each in root.findall(f"{SVG}rect") if each.get("class") in ("step", "card")]
        assert boxes and all(right <= width and bottom <= height for _, _, right, bottom in boxes)
        for at, (left, top, right, bottom) in enumerate(boxes):
            assert all(right <= x or y >= bottom or left >= end for x, y, end, _ in boxes[at + 1 :]), (left, top)


def test_no_line_of_an_svg_passes_behind_a_box(wizard: Wizard, tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    steps = "".join(
        f"  {name}: {{prompt: {{user: Hi}}, chain: {chain}, needs: {needs}}}\n"
        for name, chain, needs in [("a", "one", []), ("b", "two", ["a"]), ("c", "one", ["a"]), ("d", "two", ["a"])]
    )
    chains = "chains: {one: {targets: [m]}, two: {targets: [m]}}\n"
    path.write_text(f"version: 1\nproviders: {{m: {{type: mock}}}}\n{chains}steps:\n{steps}")
    root = ElementTree.fromstring(wizard("graph", str(path), "--format", "svg").out)
    boxes = [_sides(each) for each in root.findall(f"{SVG}rect") if each.get("class") in ("step", "card")]
    lines = [each.attrib["d"] for each in root.findall(f"{SVG}path") if each.get("class") == "asks"]
    assert len(lines) == 4
    for points in map(_corners, lines):
        for (x, y), (to, down) in itertools.pairwise(points):
            for left, top, right, bottom in boxes:
                beside = max(x, to) <= left + 0.1 or min(x, to) >= right - 0.1
                assert beside or max(y, down) <= top + 0.1 or min(y, down) >= bottom - 0.1, (points, left, top)
    starts = {points[1] for points in map(_corners, lines)}
    assert len(starts) == 4, "two lines leave a row at one height"


def _corners(path: str) -> list[tuple[float, float]]:
    """The corners of lines that go straight down and across."""
    x, y = map(float, path.removeprefix("M").split("H")[0].split("V")[0].split())
    points = [(x, y)]
    for way, number in re.findall(r"([HV])([0-9.]+)", path):
        points.append((float(number), points[-1][1]) if way == "H" else (points[-1][0], float(number)))
    return points


def _sides(box: ElementTree.Element) -> tuple[float, float, float, float]:
    x, y, width, height = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


@pytest.mark.parametrize("form", ["ascii", "mermaid", "dot", "svg"])
def test_each_drawing_tells_the_plan_where_it_is_asked_for(wizard: Wizard, form: str) -> None:
    planned = json.loads(wizard("plan", "triage.yaml", "--format", "json").out)
    told = f"at most {planned['worst']['attempts']['value']} attempts, "
    once = f"at most {planned['steps']['topic']['worst']['attempts']['value']} attempts, "
    out = wizard("graph", "triage.yaml", "--format", form, "--plan").out
    assert told in out and once in out
    assert "attempts" not in wizard("graph", "triage.yaml", "--format", form).out


def test_json_has_the_plan_of_inner_files_too(wizard: Wizard) -> None:
    described = json.loads(wizard("graph", "parts.yaml", "--format", "json", "--plan").out)
    (inner,) = [step["pipeline"] for step in described["steps"] if step["pipeline"] is not None]
    assert inner["steps"][0]["planned"].startswith("at most 3 attempts, ")

"""Reports: the same simulation in text, JSON and HTML."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from simulation_kit import CHAIN, played, scenario

from wizard_dsl.analysis import html, text
from wizard_dsl.analysis.report import Report, report
from wizard_dsl.analysis.timeline import traffic

EXPECT = {"availability": {"at_least": "99%"}, "p99": {"at_most": "1s"}, "amplification": {"at_most": 2.0}}
TARGETS = {
    "one": {"latency": "1s", "phases": [{"from": "5s", "to": "15s", "status": 503}]},
    "two": {"latency": {"median": "2s", "p99": "3s"}},
}
NO_BREAKER = CHAIN.replace("targets: [one, two]", "policies: {use: none, retry: 2}\n    targets: [one, two]")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("made")
    under = scenario(targets=TARGETS, expect=EXPECT, description="One <target> fails.")
    seeds = [played(folder, under, seed=seed) for seed in (0, 1)]
    old = [played(folder, under, NO_BREAKER, seed=seed) for seed in (0, 1)]
    return report("outage.sim.yaml", under, ("new.yaml", seeds), ("old.yaml", old))


@pytest.fixture
def alone(made: Report) -> Report:
    return report(made.file, made.scenario, (made.new.pipeline, made.new.seeds), None)


def test_the_table_says_how_it_went_with_its_interval(alone) -> None:
    said = text.render(alone)
    assert re.search(r"^availability +100% +100% – 100%$", said, re.MULTILINE)
    assert "outage.sim.yaml: new.yaml\n10/s for 20s, even arrivals, 2 seeds, 400 runs\n" in said
    assert re.search(r"^one +\d+ +\d\d\.\d% +\$0\.00 +server 5$", said, re.MULTILINE)


def test_over_time_the_outage_and_the_breaker_stand_under_each_other(alone) -> None:
    rows = {line[:11]: line for line in text.render(alone).splitlines()}
    assert rows["one: 503   "].index("▓") == rows["breaker one"].index("█") == rows["over time, "].index("0s") + 10


def test_verdicts_say_what_was_expected_and_what_was_measured(alone) -> None:
    said = text.render(alone)
    assert "met    availability: expected at least 99%, measured 100% (100% – 100%, 2 seeds)" in said
    assert "MISSED p99: expected at most 1s, measured " in said
    assert not alone.met


def test_compared_both_sides_and_their_difference_are_shown(made) -> None:
    said = text.render(made)
    assert "outage.sim.yaml: new.yaml, compared with old.yaml" in said
    assert re.search(r"^attempts per call +1\.9\d+ +1\.0\d+ +-0\.9\d+ +-", said, re.MULTILINE), said
    assert "one (old)" in said and "one (new)" in said


def test_json_has_every_seed_and_every_measure(made) -> None:
    plain = json.loads(json.dumps(made.to_json()))
    assert [seed["seed"] for seed in plain["seeds"]] == [0, 1]
    assert plain["measures"]["availability"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert plain["compared"]["pipeline"] == "old.yaml"
    assert plain["compared"]["differences"]["amplification"]["mean"] < 0
    assert [each["met"] for each in plain["expectations"]] == [True, False, True]
    assert plain["met"] is False


class Page(HTMLParser):
    """The tags of a page, and whether all that open close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing_from_anywhere(made) -> None:
    page = html.page(made)
    seen = Page(page)
    assert seen.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(seen.tags)
    assert not {"src", "href"} & {name for name, _ in seen.attributes}
    assert "url(" not in page and "@import" not in page and "http" not in page
    assert "One &lt;target&gt; fails." in page


def test_every_plot_is_an_image_with_a_name_and_a_description(made) -> None:
    plots = re.findall(r'<svg role="img".*?</svg>(?=</figure>)', html.page(made), re.DOTALL)
    assert len(plots) >= 6
    for plot in plots:
        root = ET.fromstring(plot)
        assert root.get("aria-label") and root[0].tag == "title" and root[1].tag == "desc"
        assert root[1].text


def test_the_outage_is_shaded_in_every_plot_over_time(alone) -> None:
    plots = re.findall(r"<figure>.*?</figure>", html.page(alone), re.DOTALL)
    shades = {re.search(r'class="shade" x="([\d.]+)".*?width="([\d.]+)"', plot).groups() for plot in plots}
    assert len(shades) == 1
    left, width = (float(each) for each in shades.pop())
    assert (left, width) == pytest.approx((70 + 876 / 4, 876 / 2), abs=0.2)  # 5 s to 15 s of 20 s


def test_a_load_that_ends_within_a_slice_stays_within_its_plots(tmp_path) -> None:
    under = scenario({"duration": "61s"}, targets={"*": {"latency": "1s"}})
    seen = played(tmp_path, under)
    assert (seen.width, len(seen.slices)) == (2, 31)
    made = report("a.sim.yaml", under, ("p.yaml", [seen]), None)
    rights = [
        float(x) + float(width) for x, width in re.findall(r'<rect[^>]* x="([\d.]+)" width="([\d.]+)"', html.page(made))
    ]
    assert max(rights) <= 946.1  # where the axis ends
    good, bad = traffic([seen], "one")
    assert good[-1] == pytest.approx(10) and set(bad) == {0}


def test_light_dark_and_print_have_colours_of_their_own(alone) -> None:
    page = html.page(alone)
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_the_page_of_a_simulation_without_seeds_to_compare_has_no_intervals(made) -> None:
    one = report(made.file, made.scenario, ("new.yaml", made.new.seeds[:1]), None)
    assert "interval" not in html.page(one) and "1 seed" in html.page(one)
    assert "interval" not in text.render(one)

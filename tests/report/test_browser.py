"""The page in a real browser: what it shows, how it is used, and what it must not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import END, hostile, report_of, usual, with_pictures

from bench.results.report.page import write_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page of usual and hostile records, on which everything that it logs or asks the network for is noted."""
    place = tmp_path_factory.mktemp("report")
    work = with_pictures(place / "work")
    write_page(report_of([*usual(), *hostile()], place / "results", work), place / "report.html")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.said, page.asked = [], []

    def refuse(route: Any) -> None:
        page.asked.append(route.request.url)
        route.abort()

    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.route(lambda url: not url.startswith(("file:", "data:")), refuse)
    page.file = (place / "report.html").as_uri()
    yield page
    context.close()


@pytest.fixture
def page(opened: Any) -> Any:
    """The page as it is when it is opened."""
    opened.set_viewport_size({"width": 1280, "height": 900})
    opened.emulate_media(media="screen", color_scheme="light")
    opened.goto("about:blank")
    opened.goto(opened.file)
    return opened


# What an opened record holds, which the page fills in by an event that comes after the click.
RECORD = "#behind-body > details[open] > :nth-child(2)"


def _part(page: Any, name: str) -> None:
    page.locator(f"nav a[href='#{name}']").click()
    page.wait_for_selector(f"nav a[href='#{name}'][aria-current]")  # by an event, too


def _table(page: Any, arch: str = "resnet50") -> Any:
    return page.locator(f"#results article.table[data-arch='{arch}']").first


def _names(table: Any) -> list[str]:
    return [each.strip() for each in table.locator("tbody tr:not([hidden]) > th").all_inner_texts()]


def test_it_says_nothing_and_asks_the_network_for_nothing(page: Any) -> None:
    for name in ("results", "figures", "pictures", "diagnostics", "costs", "reading", "overview"):
        _part(page, name)
        assert page.locator(f"#{name}").is_visible()
        assert page.locator(".view:visible").count() == 1
    for button in page.locator("#results [data-opens]").all()[:3]:
        button.evaluate("each => each.click()")
        page.keyboard.press("Escape")
    assert page.evaluate("document.querySelector('#pictures img').naturalWidth") == 8
    assert page.said == []
    assert page.asked == []


def test_nothing_of_a_record_runs(page: Any) -> None:
    buttons = page.locator(f"article.table[data-arch='{END}'] [data-opens]")
    assert buttons.count() > 0
    buttons.first.evaluate("each => each.click()")
    for closed in ("#behind-body > details > summary", "#behind-body details details > summary"):
        for summary in page.locator(closed).all():
            summary.evaluate("each => each.click()")
        page.wait_for_selector("#behind details details", state="attached")
    page.wait_for_selector("#behind [data-text] pre:not(:empty)", state="attached")
    assert END in page.locator("#behind [data-text] pre").first.inner_text()  # the record as it is
    assert page.evaluate("window.hurt") is None
    assert page.locator("img[src='x'], main script, dialog script").count() == 0
    page.keyboard.press("Escape")
    assert page.said == []


def test_a_link_of_the_overview_leads_to_its_table(page: Any) -> None:
    table = _table(page)
    page.locator(f"#overview a[href='#{table.get_attribute('id')}']").first.click()
    page.wait_for_selector("#results:not([hidden])")
    assert table.is_visible()
    assert page.locator("nav a[aria-current]").inner_text() == "Results"
    assert page.locator("#filters").is_visible()
    _part(page, "figures")
    assert not page.locator("#filters").is_visible()


def test_a_header_sorts_its_table(page: Any) -> None:
    _part(page, "results")
    table = _table(page)
    before = _names(table)
    head = table.locator("th", has_text="mIoU").last
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert _names(table) == ["coco_two_loss", "coco", "random_init"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert _names(table) == ["random_init", "coco", "coco_two_loss"]
    name = table.locator("th", has_text="Pretrain").first
    name.locator("button").click()
    assert name.get_attribute("aria-sort") == "ascending"
    assert head.get_attribute("aria-sort") == "none"
    assert _names(table) == ["coco", "coco_two_loss", "random_init"]
    name.locator("button").click()
    name.locator("button").click()
    assert _names(table) == before


def test_what_has_no_value_stands_last(page: Any) -> None:
    _part(page, "results")
    table = _table(page)
    head = table.locator("th", has_text="ImageNet acc").last
    for _ in range(2):
        head.locator("button").click()
        assert _names(table)[-1] == "coco_two_loss"


def test_filters(page: Any) -> None:
    _part(page, "results")
    shown = page.locator("#shown")
    every = shown.inner_text()
    page.locator("[data-filter=arch]").select_option("resnet18")
    assert _names(_table(page, "resnet18")) == ["coco"]
    assert not _table(page).is_visible()
    assert shown.inner_text() != every
    page.locator("#reset").click()
    assert shown.inner_text() == every
    page.locator("[data-filter=text]").fill("TWO_loss")
    assert _names(_table(page)) == ["coco_two_loss"]
    page.locator("[data-filter=text]").fill("of no row")
    assert shown.inner_text() == "No row fits."
    page.locator("#reset").click()
    page.locator("[data-filter=dataset]").select_option("imagenet")
    assert _names(_table(page)) == ["random_init", "coco"]
    heads = _table(page).locator("thead tr").last.locator("th:visible").all_inner_texts()
    assert [each.partition(",")[0] for each in heads] == ["ImageNet acc"]
    assert page.locator("[data-filter=protocol] option").count() > 2
    page.locator("#reset").click()
    page.locator("[data-filter=profile]").select_option("mini")
    assert shown.inner_text() == every


def test_a_cell_opens_and_closes_by_keyboard(page: Any) -> None:
    _part(page, "results")
    button = _table(page).locator("[data-opens]", has_text="65.00").first
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#behind")
    assert dialog.is_visible()
    assert page.evaluate("document.querySelector('#behind').contains(document.activeElement)")
    words = dialog.inner_text()
    assert "coco: mIoU" in words
    assert "64.00; 65.00; 66.00" in words
    assert "Difference to random_init" in words
    page.keyboard.press("Tab")  # to Close
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(RECORD)
    words = dialog.inner_text()
    assert "bench run --pretrain coco" in words
    assert "2.5e-07" in words
    dialog.locator("summary", has_text="Chain").click()
    assert f"commit {'c' * 40}" in dialog.inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert button.evaluate("each => each === document.activeElement")


def test_a_record_is_shown_as_its_file_is(page: Any) -> None:
    _part(page, "results")
    _table(page).locator("[data-opens]", has_text="42.1").first.click()
    page.locator("#behind summary", has_text="The record as it is").click()
    name = page.locator("#behind dd", has_text="records/").inner_text()
    page.wait_for_selector("#behind [data-text] pre:not(:empty)", state="attached")
    file = Path(page.file.removeprefix("file://")).parent / "results" / name
    assert page.locator("#behind [data-text] pre").text_content() == file.read_text()
    page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_nothing_serious_to_say(page: Any, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(media="screen", color_scheme=scheme)
    page.evaluate("document.querySelectorAll('.view, #filters').forEach(each => { each.hidden = false; })")
    _check(Axe(), page)
    _table(page).locator("[data-opens]").last.click()
    page.locator("#behind summary").first.click()
    page.wait_for_selector(RECORD)
    _check(Axe(), page)
    page.keyboard.press("Escape")


def _check(axe: Any, page: Any) -> None:
    found = axe.run(page).response
    assert found["passes"] is not None
    serious = [each for each in found["violations"] if each["impact"] in {"serious", "critical"}]
    assert serious == [], [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in serious]


def test_light_and_dark(page: Any) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.locator("#theme").click()
    dark = page.evaluate(paper)
    assert dark != light
    page.locator("#theme").click()
    assert page.evaluate(paper) == light
    page.emulate_media(media="screen", color_scheme="dark")
    page.reload()
    assert page.evaluate(paper) == dark
    assert page.locator("#theme").inner_text() == "Light"


def test_a_phone_shows_it_without_scrolling_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    for name in ("overview", "results", "figures", "pictures", "diagnostics", "costs", "reading"):
        _part(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, name
    _part(page, "results")
    box = _table(page).locator(".box")
    assert box.evaluate("each => each.scrollWidth > each.clientWidth")  # tables scroll in theirs
    _table(page).locator("[data-opens]").first.click()
    assert page.locator("#behind").bounding_box()["width"] <= 375
    page.keyboard.press("Escape")


def test_print(page: Any) -> None:
    _part(page, "results")
    page.locator("[data-opens]:visible").first.click()
    page.emulate_media(media="print")
    for name in ("overview", "results", "figures", "pictures", "diagnostics", "costs"):
        assert page.locator(f"#{name}").is_visible()
    for hidden in ("#filters", "#behind", "nav", "#theme"):
        assert not page.locator(hidden).is_visible()
    cut = "[...document.querySelectorAll('.box')].filter(each => getComputedStyle(each).overflowX !== 'visible').length"
    assert page.evaluate(cut) == 0
    page.set_viewport_size({"width": 700, "height": 1000})  # a page of paper
    widths = "[...document.querySelectorAll('table')].map(each => each.getBoundingClientRect().width)"
    assert max(page.evaluate(widths)) <= 700


def test_a_link_that_is_cut_off_begins_at_the_overview(page: Any) -> None:
    page.goto("about:blank")
    page.goto(f"{page.file}#results%")
    assert page.locator(".view:visible").evaluate_all("all => all.map(each => each.id)") == ["overview"]
    assert page.locator("#theme").is_visible()
    assert page.said == []

"""The page of a timeline, in a real browser: where the bars are, and what pointing, keys and buttons do."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concurrency._recorder import Outcome
from tests.timeline_hand import Hand

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    pytest.mark.timeout(120),
]

FLAGS = [
    "--no-sandbox",  # which root is refused
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Open = Callable[..., Any]


@pytest.fixture(scope="module")  # not longer: while it is open, no event loop can be run in this thread
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as manager:
        browser = manager.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a timeline. Nothing may be complained about there, nor asked for."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def show(hand: Hand, scheme: str = "light") -> Any:
        file = tmp_path / f"{len(contexts)}.html"
        hand.timeline.save(file)
        return open_file(file, scheme)

    def open_file(file: Path, scheme: str = "light") -> Any:
        contexts.append(browser.new_context(viewport={"width": 1000, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url)
        )
        page.goto(file.as_uri())
        return page

    show.file = open_file  # type: ignore[attr-defined]
    yield show
    for context in contexts:
        context.close()
    assert complaints == []


def fetch(url: str) -> None: ...


def _three() -> Hand:
    """Two lanes, and every outcome but one; ten seconds in all."""
    hand = Hand()
    each = hand.map(fetch, limit=4)
    each.call(0, 0, 4, worker=1, shown="a")
    each.call(1, 1, 3, worker=2, shown="b", outcome=Outcome.CAUGHT)
    each.call(2, 5, 10, worker=2, shown="c", outcome=Outcome.FAILURE, ready=4.5)
    return hand


def _point(page: Any, second: float, lane: int) -> tuple[float, float]:
    """Where on the page a moment in a lane of the first section is, by the times alone."""
    gutter, margin, start, seconds = page.evaluate("[GUTTER, MARGIN, view.from / 1e9, (view.to - view.from) / 1e9]")
    box = page.locator("section canvas").first.bounding_box()
    strip = page.evaluate("STRIP + GAP")
    return (
        box["x"] + gutter + (second - start) / seconds * (box["width"] - gutter - margin),
        box["y"] + strip + lane * 18 + 9,
    )


def _settle(page: Any) -> None:
    """Until what has been asked for is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def _colour(page: Any, x: float, y: float) -> str:
    """Of one pixel of the first section."""
    _settle(page)
    box = page.locator("section canvas").first.bounding_box()
    pixel = page.evaluate(
        """([x, y]) => {
            const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
            pen.drawImage(document.querySelector("section canvas"), -x, -y);
            return Array.from(pen.getImageData(0, 0, 1, 1).data);
        }""",
        [round(x - box["x"]), round(y - box["y"])],
    )
    return "#{:02x}{:02x}{:02x}".format(*pixel[:3])


def _colours(page: Any) -> dict[str, str]:
    colours: dict[str, str] = page.evaluate("colours")
    return colours


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_are_where_and_of_the_colour_that_they_should_be(show: Open, scheme: str) -> None:
    page = show(_three(), scheme)
    colours = _colours(page)
    for second, lane, colour in [
        (3.9, 0, "result"),
        (4.1, 0, "lane"),
        (9.9, 0, "lane"),
        (0.9, 1, "lane"),
        (1.5, 1, "caught"),
        (2.9, 1, "caught"),
        (3.1, 1, "lane"),
        (5.5, 1, "failed"),
        (9.9, 1, "failed"),
    ]:
        assert _colour(page, *_point(page, second, lane)) == colours[colour], (second, lane)


def test_it_is_light_or_dark_as_the_reader_has_it(show: Open) -> None:
    grounds = [
        show(_three(), scheme).evaluate("getComputedStyle(document.body).backgroundColor") for scheme in ("light", "dark")
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]


def test_the_strip_shows_calls_in_flight_against_the_limit(show: Open) -> None:
    page = show(_three())
    colours = _colours(page)
    bottom, most = page.evaluate("STRIP"), page.evaluate("STRIP - 14")
    top = page.locator("section canvas").first.bounding_box()["y"]
    for second, running in [(0.5, 1), (2, 2), (3.5, 1), (4.5, 0), (7, 1)]:
        x, _ = _point(page, second, 0)
        for level in range(1, 4):
            y = top + bottom - most * (level - 0.5) / 4
            assert (_colour(page, x, y) == colours["flight"]) is (level <= running), (second, level)
    x, _ = _point(page, 6, 0)
    limit = {_colour(page, x + away, top + bottom - most - 1) for away in range(6)}
    assert colours["text"] in limit, "no line for the limit"


@pytest.mark.parametrize(("second", "lane", "words"), [(2, 0, ["'a'", "0 of fetch.map", "result", "4.00 s", "thread 1"]),
                                                       (2, 1, ["'b'", "1 of fetch.map", "caught", "2.00 s", "thread 2"]),
                                                       (7, 1, ["'c'", "2 of fetch.map", "failed", "5.00 s", "500 ms"])])  # fmt: skip
def test_pointing_at_a_bar_shows_its_call(show: Open, second: float, lane: int, words: list[str]) -> None:
    page = show(_three())
    page.mouse.move(*_point(page, second, lane))
    card = page.locator("#card")
    assert card.is_visible()
    for word in words:
        assert word in card.inner_text()
    page.mouse.move(*_point(page, 4.5, 1))
    assert not card.is_visible()


def test_keys_go_from_call_to_call(show: Open) -> None:
    page = show(_three())
    page.locator("section canvas").focus()
    seen = []
    for key in ["ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowUp", "End", "Home"]:
        page.keyboard.press(key)
        seen.append(page.locator("#card .input").inner_text().strip("'"))
    assert seen == ["a", "b", "c", "c", "b", "a", "c", "a"]
    page.keyboard.press("Escape")
    assert not page.locator("#card").is_visible()


def test_every_control_can_be_reached_by_tab(show: Open) -> None:
    page = show(_three())
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert reached[:5] == ["zoom-out", "zoom-in", "fit", "CANVAS", "DIV"]
    assert set(reached[5:]) == {"BUTTON"}


def _seconds(page: Any) -> tuple[float, float]:
    start, end = page.evaluate("[view.from / 1e9, view.to / 1e9]")
    return start, end


def test_buttons_keys_and_the_wheel_zoom(show: Open) -> None:
    page = show(_three())
    assert _seconds(page) == (0, 10)
    page.locator("#zoom-in").click()
    assert _seconds(page) == pytest.approx((2.5, 7.5))
    assert _colour(page, *_point(page, 3.9, 0)) == _colours(page)["result"]
    assert _colour(page, *_point(page, 4.1, 0)) == _colours(page)["lane"]
    page.locator("#zoom-out").click()
    assert _seconds(page) == pytest.approx((0, 10), abs=0.11)
    page.locator("#zoom-in").click()
    page.locator("#fit").click()
    assert _seconds(page) == (0, 10)
    page.locator("section canvas").focus()
    page.keyboard.press("+")
    assert _seconds(page)[1] - _seconds(page)[0] == pytest.approx(5)
    page.keyboard.press("0")
    x, y = _point(page, 2, 0)
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -50)
    page.keyboard.up("Control")
    page.wait_for_function("view.to - view.from < 9e9")
    assert _point(page, 2, 0)[0] == pytest.approx(x, abs=1), "the moment under the pointer has moved"


def test_the_wheel_alone_scrolls_the_page(show: Open) -> None:
    page = show(_three())
    page.mouse.move(*_point(page, 2, 0))
    page.mouse.wheel(0, -50)
    _settle(page)
    assert _seconds(page) == (0, 10)


def test_dragging_moves(show: Open) -> None:
    page = show(_three())
    page.locator("#zoom-in").click()
    x, y = _point(page, 5, 0)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y)
    page.mouse.up()
    assert _point(page, 5, 0)[0] == pytest.approx(x + 100, abs=1)
    assert _seconds(page)[1] - _seconds(page)[0] == pytest.approx(5)


def test_the_table_leads_to_the_slowest_call(show: Open) -> None:
    page = show(_three())
    page.locator("ol button").first.click()
    assert page.locator("#card .input").inner_text() == "'c'"
    start, end = _seconds(page)
    assert start < 5.1
    assert end > 9.9


HOSTILE = [
    "<script>window.hit = 1</script>",
    "</script><script>window.hit = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.hit = 1'>",
    "\u2028\u2029 \ud800 \x00 \x1b[31m",
    "'\"`${window.hit = 1}\\",
    "&lt;b&gt; &#60; ]]>",
]


def test_nothing_of_an_input_is_ever_code(show: Open) -> None:
    def hostile(text: str) -> None: ...

    hostile.__name__ = HOSTILE[1]
    hand = Hand()
    each = hand.map(hostile, limit=2)
    for place, text in enumerate(HOSTILE):
        each.call(place, place, place + 1, worker=HOSTILE[3], shown=text)
    page = show(hand)
    for place, text in enumerate(HOSTILE):
        page.mouse.move(*_point(page, place + 0.5, 0))
        assert page.locator("#card .input").text_content() == repr(text)
    assert page.evaluate("window.hit") is None
    assert page.locator("h2").text_content().startswith(f"{HOSTILE[1]}.map")
    assert page.locator("tbody button").first.text_content() == f"{HOSTILE[1]}.map"
    assert page.locator("img").count() == 0


def test_fifty_thousand_calls(show: Open) -> None:
    hand = Hand()
    each = hand.map(fetch, limit=20)
    for place in range(50_000):
        start = place // 20 * 0.01
        each.call(place, start, start + 0.009, worker=place % 20)
    page = show(hand)
    assert "50,000 calls" in page.locator("header").inner_text()
    assert _colour(page, *_point(page, 12.5, 10)) != _colours(page)["lane"]
    page.evaluate("show(12.5e9, 12.6e9)")
    page.mouse.move(*_point(page, 12.534, 10))
    assert page.locator("#card .input").inner_text() == str(1253 * 20 + 10)


def test_calls_that_never_suspend_in_thousands_of_slots(show: Open) -> None:
    async def a_fetch(url: str) -> None: ...

    hand = Hand()
    each = hand.map(a_fetch, operation="a_map")
    for place in range(5000):
        each.call(place, place * 0.001, 6 + place * 0.001)
    page = show(hand)
    box = page.locator("section canvas").bounding_box()
    assert box["height"] < 700
    x, _ = _point(page, 3, 0)
    page.mouse.move(x, box["y"] + page.evaluate("yOf(data.sections[0], 2000)"))
    assert abs(int(page.locator("#card .input").inner_text()) - 2000) < 20


def test_a_call_that_is_still_running_is_shown(show: Open) -> None:
    hand = Hand()
    hand.map(fetch).call(0, 0, None, shown="stuck")
    page = show(hand)
    page.mouse.move(*_point(page, 1, 0))
    assert "running" in page.locator("#card").inner_text()


def test_what_comes_before_the_first_map_is_not_shown(show: Open) -> None:
    hand = Hand()
    hand.map(fetch, 100).call(0, 101, 103, worker=1)
    page = show(hand)
    assert _seconds(page) == (100, 103)
    assert "1 call in 3.00 s" in page.locator("header").inner_text()


def test_an_empty_timeline(show: Open) -> None:
    assert "No call has been recorded" in show(Hand()).locator("main").inner_text()


def test_in_a_notebook_it_stands_in_a_frame_of_its_own(show: Any, tmp_path: Path) -> None:
    hand = _three()
    hand.map(fetch, 2).call(0, 2, 3, shown='"><script>parent.hit = 1</script>')
    file = tmp_path / "notebook.html"
    file.write_text(f"<!DOCTYPE html><meta charset=utf-8>{hand.timeline._repr_html_()}", encoding="utf-8")
    page = show.file(file)
    frame = page.frame_locator("iframe")
    frame.locator("section canvas").first.wait_for()
    assert "4 calls in 10.0 s" in frame.locator("header").inner_text()
    assert page.evaluate("window.hit") is None

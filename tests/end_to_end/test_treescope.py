"""Trees of Treescope in real browsers, live and stored: in their frame, folded by a click, legible in the dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kitchen_sink import LIVE_MS, cell_under, output_of, run_code
from playwright.sync_api import expect

if TYPE_CHECKING:
    from watched_page import Watched

pytestmark = [pytest.mark.browser, pytest.mark.firefox]

# Of the words in the tree, the weakest contrast with the paper that they stand on.
CONTRAST = """root => {
  const rgb = words => words.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const linear = part => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb(colour).map(part => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = element => {
    for (let at = element; at; at = at.parentElement ?? at.getRootNode().host) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgb(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const strings = [...root.shadowRoot.querySelectorAll(".color_string, .color_number")];
  return Math.min(...strings.map(element => {
    const [a, b] = [light(getComputedStyle(element).color), light(paper(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
}"""


@pytest.mark.parametrize("mode", ["stored", "live"])
def test_a_tree_folds_by_a_click_and_is_legible_in_the_dark(sink: Watched, mode: str) -> None:
    cell = cell_under(sink.page, "Treescope")
    output = output_of(cell, mode)
    cell.scroll_into_view_if_needed()
    frame = output.frame_locator("iframe")
    tree = frame.locator("treescope-container")
    expect(tree).to_contain_text("'Rome'", timeout=LIVE_MS)
    expect(output.locator("iframe")).to_have_attribute("sandbox", "allow-scripts")
    # Its text form says nothing, so there is no fold for it and no name made of it.
    expect(output.locator("iframe")).to_have_attribute("title", "Interactive view")
    expect(output.get_by_text("As text")).to_have_count(0)
    array = frame.get_by_text("array([[1., 0., 0.]")
    expect(array).to_be_visible()
    fold = frame.locator("label", has_text="np.ndarray")
    fold.click()
    expect(array).to_be_hidden()
    fold.click()
    expect(array).to_be_visible()
    sink.page.evaluate("() => { document.documentElement.dataset.theme = 'dark'; }")
    expect(frame.locator("html")).to_have_attribute("data-scheme", "dark")
    assert tree.evaluate(CONTRAST) >= 4.5
    sink.assert_clean()


def test_a_tree_is_the_answer_of_a_cell_once_treescope_is_set_up(sink: Watched) -> None:
    setup = "import treescope\ntreescope.basic_interactive_setup()\ntreescope.register_as_default(streaming=False)"
    code = f"{setup}\n['Rome']"
    frame = run_code(sink.page, code).frame_locator("iframe").first
    expect(frame.locator("treescope-container")).to_contain_text("'Rome'", timeout=LIVE_MS)
    sink.assert_clean()

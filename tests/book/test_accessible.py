"""The repairs of finished pages, and that they touch nothing else."""

from __future__ import annotations

from book.extensions.accessible import repaired


def test_a_fold_is_called_by_its_own_words() -> None:
    assert repaired('<summary aria-label="Toggle hidden content">\n<p>Show it</p>') == "<summary>\n<p>Show it</p>"
    assert repaired('<summary aria-label="More">x</summary>') == '<summary aria-label="More">x</summary>'


def test_a_signature_is_no_list_and_the_entry_around_it_stays_one() -> None:
    before = (
        '<dl class="py"><dt class="sig x" id="f">f(<dl>\n<dd><em>a</em>,</dd>\n</dl>\n)</dt>'
        "<dd><dl><dd>b</dd></dl></dd></dl>"
    )
    after = (
        '<dl class="py"><dt class="sig x" id="f">f(<span class="tl-parameters">\n<span class="tl-parameter">'
        "<em>a</em>,</span>\n</span>\n)</dt><dd><dl><dd>b</dd></dl></dd></dl>"
    )
    assert repaired(before) == after

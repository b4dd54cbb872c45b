"""Model markdown in html and in markdown."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from beatra_nb.display import colours, prose, prose_markdown, tex
from beatra_nb.display.escapes import is_address
from beatra_nb.display.html import asset
from tests.display.audit import audit


def html(text: str) -> str:
    found = prose.to_html(text)
    audit(found)
    return re.sub(r' (style|dir|tabindex|class|title|rel|target|scope)="[^"]*"', "", found)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("a **b** *c* ~~d~~ `e`", "<p>a <strong>b</strong> <em>c</em> <s>d</s> <code>e</code></p>"),
        ("# One\n\n#### Four", "<h3>One</h3><h6>Four</h6>"),
        ("- a\n- b\n  - c", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>"),
        ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("- [x] done\n- [ ] open", "<ul><li>☑ done</li><li>☐ open</li></ul>"),
        ("> quiet", "<blockquote><p>quiet</p></blockquote>"),
        ("a  \nb", "<p>a<br>b</p>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        ("|a|b|\n|-|-:|\n|1|2|", "<div><table><thead><tr><th>a</th><th>b</th></tr></thead>"
         "<tbody><tr><td>1</td><td>2</td></tr></tbody></table></div>"),
        ("<b>raw</b>", "<p>&lt;b&gt;raw&lt;/b&gt;</p>"),
        ("```\na < b\n```", "<pre><code>a &lt; b</code></pre>"),
        ("[x](https://e.org/?a=1&b=2)", '<p><a href="https://e.org/?a=1&amp;b=2">x</a></p>'),
        ("[x](mailto:a@e.org)", '<p><a href="mailto:a@e.org">x</a></p>'),
        ("see https://e.org/a_b_c.", '<p>see <a href="https://e.org/a_b_c">https://e.org/a_b_c</a>.</p>'),
        ("![alt](https://e.org/x.png)", '<p><a href="https://e.org/x.png">🖼 alt</a></p>'),
        ("", ""),
    ],
)  # fmt: skip
def test_markdown_features(source: str, shown: str) -> None:
    assert html(source) == shown


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "/relative",
        "#anchor",
        "//e.org",
    ],
)
def test_other_links_are_text(target: str) -> None:
    for source in (f"[x]({target})", f"![x]({target})", f"[x]\n\n[x]: {target}"):
        assert "<a" not in html(source)
        assert "](" not in prose_markdown.to_markdown(source).replace("\\]", "")
    assert target.rsplit(":", maxsplit=1)[-1] in html(f"[x]({target})")


def test_links_leave_no_trace_and_open_elsewhere() -> None:
    assert 'target="_blank" rel="noopener noreferrer nofollow"' in prose.to_html("[x](https://e.org)")
    assert 'title="https://e.org"' in prose.to_html("[https://bank.example](https://e.org)")


@pytest.mark.parametrize(
    "formula",
    [
        "$x^2$",
        "$$x^2$$",
        "\\(a < b\\)",
        "\\[a_1 * b_2 * c\\]",
        "$\\{a\\}$",
        "\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}",
    ],
)
def test_formulas_are_left_for_the_front_end(formula: str) -> None:
    found = audit(prose.to_html(f"{formula}"))
    assert formula in "".join(found.text)
    assert "tex2jax_process mathjax_process" in prose.to_html(formula)
    assert "<em>" not in prose.to_html(formula)
    assert formula.replace("<", "\\lt ") in prose_markdown.to_markdown(formula)


@pytest.mark.parametrize(
    "text",
    ["$5 and $10", "costs $5.", "US$ 5 and A$ 6", "\\$x\\$", "a $ b $ c", "$", "$$", "$$$$", "\\[", "\\(\\)"],
)
def test_prices_are_not_formulas(text: str) -> None:
    assert "mathjax_process" not in prose.to_html(text)


@pytest.mark.parametrize(
    "command",
    [
        "\\href{javascript:x}{y}",
        "\\style{color:red}{y}",
        "\\def\\x{y}",
        "\\csname href\\endcsname",
        "\\require{html}",
    ],
)
def test_formulas_that_could_do_more_than_draw_are_code(command: str) -> None:
    for source in (f"${command}$", f"$$\n{command}\n$$", f"\\({command}\\)"):
        assert "mathjax_process" not in prose.to_html(source)
        assert command in "".join(audit(prose.to_html(source)).text)
        assert f"`{source}`".replace("\n", " ") in prose_markdown.to_markdown(source)
    assert tex.is_active(command)


def test_the_view_is_closed_to_formulas_outside_of_answers() -> None:
    from beatra_nb import display

    assert 'class="bnb tex2jax_ignore mathjax_ignore"' in display.to_html("$x$")


@pytest.mark.parametrize(
    "source",
    [
        "a **b** *c* ~~d~~ `e`",
        "# One\n\ntext\n\n## Two",
        "- a\n- b\n  - c\n    more\n\n1. x\n2. y",
        "- a\n\n  para\n\n- b\n\n* other",
        "> a\n> b\n>\n> - c\n>   ```\n>   code\n>   ```",
        "```python\nprint('`')\n```",
        "````\n```\ninner\n```\n````",
        "| a | b |\n|---|--:|\n| `x` | y \\| z |",
        "1. a\n   - b\n\n     c\n2. d",
        "[x](https://e.org/a(b)c) <https://e.org>",
        "a\\\nb",
        "5\\. not a list\n\n\\# nor a heading\n\n\\- nor this",
    ],
)
def test_rewritten_markdown_means_the_same(source: str) -> None:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    again = prose_markdown.to_markdown(source)
    plain = {"(": "%28", ")": "%29"}
    expected = parser.render(source)
    for sign, code in plain.items():
        expected = re.sub(
            r'href="[^"]*"', lambda found, s=sign, c=code: found.group().replace(s, c), expected
        )
    assert parser.render(again) == expected


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab 1.-*_`#>[]()|\n\\~=+!<&;", max_size=60))
@example("*_;_;*")
@example("*a*_b_")
@example("**a__b__**")
def test_rewritten_markdown_keeps_every_word(source: str) -> None:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.validateLink = is_address  # type: ignore[method-assign]

    def words(text: str) -> str:
        return re.sub(r"<[^>]*>|\s+", "", parser.render(text))

    assert words(prose_markdown.to_markdown(source)) == words(source)


@pytest.mark.parametrize(
    "language", sorted({name for names in colours._LEXERS.values() for name in names.split()})
)
def test_each_language_keeps_every_letter_of_the_code(language: str) -> None:
    code = (
        'def f(x): # c\n\treturn "s" + \'<b>\' + 1.5 && nil; /* c */ -- d\n\n  {"a": [true, null]}\n+ a\n- b'
    )
    found = audit(prose.to_html(f"```{language}\n{code}\n```"))
    assert "".join(found.text) == code


def test_code_is_coloured_and_an_unknown_language_is_not() -> None:
    assert 'class="bnb-k" style="color:' in prose.to_html("```python\nimport os\n```")
    assert "<span" not in prose.to_html("```klingon\nimport os\n```")
    assert "<span" not in prose.to_html("```python\n" + "import os\n" * 4000 + "```")


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mixed(text: str, hue: str, share: float) -> str:
    return "#" + "".join(
        f"{round(int(text[i : i + 2], 16) * share + int(hue[i : i + 2], 16) * (1 - share)):02x}"
        for i in (1, 3, 5)
    )


# Text and ground of code in JupyterLab light and dark, VS Code dark, and this package's page.
THEMES = [
    ("#212121", "#f5f5f5"),
    ("#ffffff", "#1a1a1a"),
    ("#cccccc", "#262626"),
    ("#1d2125", "#f5f5f5"),
    ("#e4e6e9", "#1e2023"),
]


@pytest.mark.parametrize(("text", "ground"), THEMES)
def test_colours_of_code_read_well_in_light_and_dark(text: str, ground: str) -> None:
    inline = [match[1] for style in colours.STYLES.values() if (match := re.match(r"color:(#\w{6})", style))]
    assert len(inline) == 4
    # One tone for white and for black cannot pass 4.5 on both; with the style sheet alive each theme does.
    assert min(contrast(colour, ground) for colour in inline) >= 3.4
    sheet = re.findall(r"color-mix\(in srgb, currentColor (\d+)%, (#\w{6})\)", asset("view.css"))
    assert len(sheet) == 4
    assert min(contrast(mixed(text, hue, int(share) / 100), ground) for share, hue in sheet) >= 4.5

"""Colours for code: source → spans that read well on white and on black.

Notebooks that somebody else wrote lose their style sheets, so each span carries its colour inline, and one colour
must do for both themes. Half-way tones have a contrast near 4:1 on either; where a style sheet lives,
``assets/view.css`` mixes them with the theme's own text colour and passes 4.5:1.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pygments.lexer import Lexer

# Role → inline style. The class is ``bnb-`` and the role's letter.
STYLES = {
    "k": "color:#9a6bdc;font-weight:600",  # keywords
    "s": "color:#3d8a4a",  # strings
    "n": "color:#b56f1d",  # numbers, constants
    "f": "color:#3d7ed0",  # names of functions, classes, tags
    "c": "opacity:.68;font-style:italic",  # comments
    "a": "background-color:rgba(46,160,67,.16)",  # added lines
    "d": "background-color:rgba(218,54,51,.16)",  # deleted lines
}
# Only these are coloured: names that a model writes after a fence → lexers known to be quick on any input.
_LEXERS = {
    "PythonLexer": "python py python3 ipython",
    "PythonConsoleLexer": "pycon",
    "JsonLexer": "json jsonl ndjson geojson",
    "BashLexer": "bash sh shell zsh",
    "BashSessionLexer": "console shell-session",
    "JavascriptLexer": "javascript js jsx node",
    "TypeScriptLexer": "typescript ts tsx",
    "HtmlLexer": "html xhtml",
    "CssLexer": "css scss",
    "XmlLexer": "xml svg xsl",
    "SqlLexer": "sql",
    "YamlLexer": "yaml yml",
    "TOMLLexer": "toml",
    "IniLexer": "ini cfg",
    "CLexer": "c h",
    "CppLexer": "cpp c++ cxx hpp",
    "CSharpLexer": "csharp cs c#",
    "JavaLexer": "java",
    "GoLexer": "go golang",
    "RustLexer": "rust rs",
    "SLexer": "r",
    "JuliaLexer": "julia jl",
    "RubyLexer": "ruby rb",
    "KotlinLexer": "kotlin kt",
    "SwiftLexer": "swift",
    "LuaLexer": "lua",
    "DiffLexer": "diff patch",
    "DockerLexer": "dockerfile docker",
    "HttpLexer": "http",
}
_LONGEST = 20_000  # characters of one block; anything longer stays uncoloured


def highlight(source: str, language: str) -> str:
    """Return escaped html of a piece of code, with coloured spans where the language is known.

    Parameters
    ----------
    source : str
        The code, already free of hidden characters.
    language : str
        The fence's first word; an unknown one leaves the code plain.
    """
    lexer = _lexer(language.lower()[:20]) if source and len(source) <= _LONGEST else None
    if lexer is None:
        return escape(source, quote=False)
    tokens = list(lexer.get_tokens(source))
    if "".join(value for _, value in tokens) != f"{source}\n":
        return escape(source, quote=False)  # a lexer that loses letters is worse than no colours
    out: list[str] = []
    run, role = "", ""
    for kind, value in tokens:
        # Spaces join the span before them: fewer, longer spans.
        found = role if value.isspace() else _role(kind)
        if found != role:
            _span(out, run, role)
            run, role = "", found
        run += value
    _span(out, run.removesuffix("\n"), role)
    return "".join(out)


def _span(out: list[str], text: str, role: str) -> None:
    if not text:
        return
    html = escape(text, quote=False)
    out.append(f'<span class="bnb-{role}" style="{STYLES[role]}">{html}</span>' if role else html)


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    name = next((lexer for lexer, names in _LEXERS.items() if language in names.split()), None)
    if name is None:
        return None
    from pygments import lexers

    made: Lexer = getattr(lexers, name)(stripnl=False)
    return made


@lru_cache(maxsize=512)
def _role(kind: Any) -> str:  # noqa: ANN401 - Pygments' token types are made at run time
    from pygments.token import Comment, Generic, Keyword, Literal, Name, Number, Operator, String

    for family, role in (
        (Comment.Preproc, "k"),
        (Comment, "c"),
        (Keyword.Constant, "n"),
        (Keyword, "k"),
        (Operator.Word, "k"),
        (String, "s"),
        (Number, "n"),
        (Literal, "n"),
        (Name.Function, "f"),
        (Name.Class, "f"),
        (Name.Decorator, "f"),
        (Name.Tag, "f"),
        (Name.Builtin, "f"),
        (Name.Exception, "f"),
        (Name.Constant, "n"),
        (Generic.Inserted, "a"),
        (Generic.Deleted, "d"),
        (Generic.Heading, "k"),
        (Generic.Subheading, "k"),
        (Generic.Prompt, "c"),
    ):
        if kind in family:
            return role
    return ""

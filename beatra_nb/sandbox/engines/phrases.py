"""What the scripted engine says: a short list of rules, the first that fits wins.

The rules serve tutorials and tests: greetings of a given length, code, tables, lists, formulas, texts of N
words, summaries, sums, echoes, and what was said earlier in the conversation.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from beatra_nb.sandbox.engines.base import ChatRequest

MAX_WORDS = 20_000
MAX_ITEMS = 50

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
_NUMBERS = {word: number for number, word in enumerate(_SMALL.split())}
_NUMBERS |= {"thirty": 30, "forty": 40, "fifty": 50, "hundred": 100, "thousand": 1000}
_NUMBER = r"(\d{1,6}|" + "|".join(_NUMBERS) + ")"

_GREETINGS = ("Hello", "there,", "nice", "to", "meet", "you", "on", "this", "fine", "day", "and", "welcome")
_FIVE = ("Hello! Lovely to meet you.", "Hi there, how are you?", "Hello and welcome, dear reader!")
_TOPICS = ("notebook", "answer", "model", "request", "cell", "kernel", "stream", "token", "reader", "page")
_VERBS = ("shows", "keeps", "follows", "explains", "carries", "checks", "repeats", "opens", "finds", "holds")
_KINDS = ("quiet", "small", "clear", "second", "early", "plain", "warm", "careful", "short", "useful")


def reply(request: ChatRequest, chance: random.Random) -> str:
    """Return the answer to the last message."""
    last = request.messages[-1]
    if last.role == "tool":
        return f"The tool answered: {last.text}"
    prompt = request.prompt
    for rule in _RULES:
        text = rule(prompt, request, chance)
        if text is not None:
            return text
    topic = " ".join(prompt.split())
    topic = topic if len(topic) <= 200 else topic[:199] + "…"
    opening = chance.choice(("You wrote", "You asked", "Your message was"))
    return (
        f"{opening}: “{topic}”. This is the sandbox's scripted engine: it answers the same request always "
        f"in the same way. Here the {_clause(chance)}, and the {_clause(chance)}."
    )


def prose(words: int, chance: random.Random) -> str:
    """Return a text of exactly so many words, in sentences and paragraphs."""
    made: list[str] = []
    ends = 0
    while len(made) < words:
        sentence = f"the {chance.choice(_KINDS)} {_clause(chance)}".split()
        sentence = sentence[: words - len(made)]
        sentence[0] = sentence[0].capitalize()
        ends += 1
        sentence[-1] += ".\n\n" if ends % 6 == 0 else "."
        made += sentence
    return " ".join(made).replace("\n\n ", "\n\n").strip()


def _clause(chance: random.Random) -> str:
    first, second = chance.sample(_TOPICS, 2)
    return f"{first} {chance.choice(_VERBS)} the {chance.choice(_KINDS)} {second}"


def _number(word: str) -> int:
    return _NUMBERS[word.lower()] if word.lower() in _NUMBERS else int(word)


def _echo(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    found = re.match(
        r"\s*(?:please\s+)?(?:repeat|echo)(?:\s+after\s+me|\s+exactly|\s+this)?\s*:\s*(.+)",
        prompt,
        re.I | re.S,
    )
    return found[1] if found else None


def _greeting(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    if not re.search(r"\b(say (hi|hello)|greet|^(hi|hello|hey)\b)", prompt, re.I):
        return None
    found = re.search(rf"\b(?:in|with|of)\s+(?:exactly\s+)?{_NUMBER}\s+words?\b", prompt, re.I)
    count = min(_number(found[1]), MAX_WORDS) if found else 5
    if count == 5:
        return chance.choice(_FIVE)
    if count == 0:
        return ""
    words = [_GREETINGS[at % len(_GREETINGS)] for at in range(count)]
    return " ".join(words).rstrip(",") + "!"


def _memory(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    if not re.search(
        r"\bwhat(?:'s| is| was) my (\w+)|\bwhat did i (?:just )?(?:say|ask|write)", prompt, re.I
    ):
        return None
    earlier = [m.text for m in request.messages[:-1] if m.role == "user"]
    asked = re.search(r"\bmy (\w+)", prompt, re.I)
    for text in reversed(earlier):
        if asked is None:
            return f"You said: “{text[:500]}”"
        told = re.search(rf"\bmy {re.escape(asked[1])} is ([^.!?,;\n]{{1,80}})", text, re.I)
        if told:
            return f"Your {asked[1].lower()} is {told[1].strip()}."
    return "You have not told me in this conversation."


def _sum(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    found = re.search(r"(?<![\w.])(-?\d{1,9})\s*([-+*×x/])\s*(-?\d{1,9})(?![\w.])", prompt)
    if not found:
        return None
    a, sign, b = int(found[1]), found[2], int(found[3])
    if sign == "/":
        return f"{a} / {b} is {a / b:g}." if b else "Nothing can be divided by zero."
    total = a + b if sign == "+" else a - b if sign == "-" else a * b
    return f"{a} {sign} {b} is {total}."


def _code(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    if not re.search(r"\b(code|function|python|script|program|snippet)\b", prompt, re.I):
        return None
    return (
        "Here is a small function:\n\n"
        "```python\n"
        "def greet(name: str) -> str:\n"
        '    """Return a greeting."""\n'
        '    return f"Hello, {name}!"\n'
        "\n\n"
        'print(greet("Ada"))\n'
        "```\n\n"
        "It prints `Hello, Ada!`."
    )


def _table(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    if not re.search(r"\btable\b", prompt, re.I):
        return None
    rows = [
        f"| {topic} | {chance.choice(_KINDS)} | {chance.randint(1, 99)} |"
        for topic in chance.sample(_TOPICS, 3)
    ]
    return "Here is a table:\n\n| Thing | Kind | Count |\n|---|---|---:|\n" + "\n".join(rows)


def _formula(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    if not re.search(r"\b(formula|equation|latex|integral|theorem)\b", prompt, re.I):
        return None
    return (
        "Euler's identity joins five numbers:\n\n$$e^{i\\pi} + 1 = 0$$\n\nInline it reads $e^{i\\pi} = -1$."
    )


def _list(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    found = re.search(
        rf"\b{_NUMBER}\s+(?:\w+\s+)?(?:ideas|items|points|tips|reasons|examples|things|names|facts|steps|bullets?)\b",
        prompt,
        re.I,
    )
    if not found and not re.search(r"\b(list|bullet|bullets|enumerate)\b", prompt, re.I):
        return None
    count = min(_number(found[1]), MAX_ITEMS) if found else 3
    return "\n".join(f"{at}. The {chance.choice(_KINDS)} {_clause(chance)}." for at in range(1, count + 1))


def _summary(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    if not re.search(r"\b(summar\w*|tl;?dr|in one sentence)\b", prompt, re.I):
        return None
    _, _, rest = prompt.partition(":")
    text = " ".join((rest if rest.strip() else prompt).split())
    sentence = re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
    words = sentence.split()
    return "In short: " + (" ".join(words[:30]) + "…" if len(words) > 30 else sentence)


def _long(prompt: str, request: ChatRequest, chance: random.Random) -> str | None:
    found = re.search(rf"\b{_NUMBER}[\s-]+words?\b", prompt, re.I)
    if found:
        return prose(min(_number(found[1]), MAX_WORDS), chance)
    return prose(400, chance) if re.search(r"\b(long|essay|story)\b", prompt, re.I) else None


_RULES: tuple[Callable[[str, ChatRequest, random.Random], str | None], ...] = (
    _echo,
    _greeting,
    _memory,
    _summary,
    _code,
    _table,
    _formula,
    _list,
    _long,
    _sum,
)

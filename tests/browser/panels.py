"""The five panels as a person's hands drive them, in whatever front end they stand."""

from __future__ import annotations

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

# Mishaps of the front ends themselves, whatever they show.
NOISE = (
    "fontawesome",  # what Voila's template links to
    "The getter for the shared module is not a function",  # Voila loads JupyterLab's extensions without its modules
    "Comm not found for comm id",  # JupyterLab, of the last words of a kernel that was restarted
    "Cannot read properties of undefined (reading 'schema')",  # Notebook 7, while its settings load
)
KINDS = ("chat", "builder", "compare", "studio", "board")

SETUP = """
import tempfile
import beatra_nb as bn
sandbox = bn.sandbox.start(engine="scripted", faults=True, state=tempfile.mkdtemp())  # no other test's tasks
client = bn.Client(sandbox.api_key, base_url=sandbox.base_url, max_attempts=1)
short = {"sandbox": {"seconds": 2, "format": "mp3"}}
"""
# A cell for each panel; a name is defined in one cell only, as marimo wants it.
PANELS = {
    "chat": "box = bn.ChatBox(client=client, title='Harbour', model_options={'pace': 0.01})\nbox",
    "builder": "builder = bn.PromptBuilder(client=client)\nbuilder",
    "compare": (
        "compare = bn.Compare(models=['auto', 'sandbox-scripted'], client=client, model_options={'pace': 0.01})\n"
        "compare"
    ),
    "studio": "studio = bn.MusicStudio(client=client)\nstudio",
    "board": "board = bn.TaskBoard(client=client)\nboard",
}
CELLS = [SETUP, *PANELS.values()]
LONG = "Write a text of 1900 words."
SHORT = "Say hi in five words."
READY = 60_000  # milliseconds that a loaded machine may take until panels are there


class Hands:
    """What a person sees of the panels on a page, and does to them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("console", self._hear)

    def root(self, kind: str) -> Locator:
        """The panel of a kind."""
        return self.page.locator(f".bnp-{kind}")

    def appear(self) -> bool:
        """Wait a while for the first panel; return whether it came."""
        try:
            expect(self.root(KINDS[0])).to_be_visible(timeout=15_000)
        except AssertionError:
            return False
        return True

    def all_there(self) -> None:
        """Wait until each panel is alive, and see that nothing is shown twice."""
        for kind in KINDS:
            expect(self.root(kind)).to_be_visible(timeout=READY)
        expect(self.page.locator(".bnp-still:visible")).to_have_count(0)
        assert self.wrong == [], self.wrong
        assert "not found" not in self.page.locator("body").inner_text().lower()

    # ── one panel's main job each ──

    def say(self, text: str) -> None:
        """Type something into the chat box and send it."""
        self.root("chat").get_by_label("Message", exact=True).focus()
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def writing(self) -> None:
        """Wait until the chat box shows an answer that grows."""
        expect(self.root("chat").locator(".bnp-writing p").first).to_be_visible()

    def answered(self, count: int) -> None:
        """Wait until the chat box shows so many whole turns."""
        turns = self.root("chat").locator(".bnp-chat-turn")
        expect(turns).to_have_count(count)
        expect(turns.last.locator(".bnp-id")).to_contain_text("req_")

    def chat(self) -> None:
        """Say something and get an answer; say more, and stop it."""
        self.say(SHORT)
        self.answered(1)
        self.say(LONG)
        self.writing()
        stop = self.root("chat").get_by_role("button", name="Stop")
        stopped = self.root("chat").locator(".bnp-chat-more .bnp-warn")
        stop.click()
        try:
            expect(stopped).to_have_text("stopped", timeout=10_000)
        except (
            AssertionError
        ):  # seldom, a kernel overlooks a message while a page connects anew: one clicks again
            stop.click()
        expect(stopped).to_have_text("stopped")

    def build(self, city: str = "Oslo") -> None:
        """Type a prompt with a variable, and its value, and run the row."""
        root = self.root("builder")
        root.get_by_label("Prompt", exact=True).focus()
        self.page.keyboard.type("Repeat: fish of {city}")
        root.get_by_role("button", name="{city} missing").click()
        expect(root.get_by_label("city, row 1")).to_be_focused()
        self.page.keyboard.type(city)
        self.page.keyboard.press("Control+Enter")
        expect(root.get_by_label("Answer", exact=True).locator(".bnp-prose")).to_have_text(f"fish of {city}")
        expect(root.locator(".bnp-builder-said")).to_have_text(f"fish of {city}")

    def compare(self) -> None:
        """Run two lanes."""
        root = self.root("compare")
        root.get_by_label("Prompt", exact=True).fill("Repeat: one **two**")
        root.get_by_role("button", name="Run").click()
        expect(root.locator(".bnp-prose")).to_have_text(["one two"] * 2)
        expect(root.locator(".bnp-compare-who").first).to_contain_text("req_")

    def make_music(self) -> None:
        """Describe a piece of two seconds, make it, and play it."""
        root = self.root("studio")
        root.get_by_label("Prompt", exact=True).fill("slow blues")
        root.get_by_label("Length in seconds").fill("2")
        root.get_by_role("button", name="Create").click()
        takes = root.locator(".bnp-studio-take")
        expect(takes).to_have_count(2, timeout=READY)
        sound = takes.locator("audio").first
        sound.evaluate("node => { node.muted = true }")
        takes.get_by_role("button", name="Play").first.click()
        expect(sound).to_be_visible()
        handle = sound.element_handle()
        self.page.wait_for_function("node => node.readyState >= 2 && node.currentTime > 0.1", arg=handle)

    def see_task(self) -> None:
        """See the studio's task on the board."""
        root = self.root("board")
        # What begins and ends between two glances of the board is found when it looks again.
        root.get_by_role("button", name="Refresh").click()
        row = root.locator("tbody tr", has_text="slow blues")
        expect(row.locator(".bnp-badge")).to_have_text("succeeded", timeout=15_000)
        expect(row).to_contain_text("80 credits")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"{message.text} ({message.location.get('url', '')})")

    def _note(self, words: str) -> None:
        if not any(each in words for each in NOISE):
            self.wrong.append(words)

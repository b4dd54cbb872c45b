"""The notebook home of the beatra AI API.

>>> import beatra_nb as bn
>>> bn.chat("Say hi in five words.")  # doctest: +SKIP

Public names are loaded when they are first used, so that the import itself takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The module that holds it → its public names.
_NAMES = {
    "beatra_nb.verbs": """
        connect chat stream models capabilities health journal last traceback
        map music upload task tasks pending
        achat astream amodels acapabilities ahealth
        amap amusic aupload atask atasks apending
    """,
    "beatra_nb.tapes": "record replay Taping",
    "beatra_nb.core.client": "Client",
    "beatra_nb.core.async_client": "AsyncClient",
    "beatra_nb.core.conversation": "Chat Turn",
    "beatra_nb.core.streams": "TextStream AsyncTextStream",
    "beatra_nb.core.reply": "Reply Usage ToolCall ModelInfo ModelList Capability CapabilityList Health",
    "beatra_nb.core.task": "Task AsyncTask Progress Billing TaskWarning",
    "beatra_nb.core.media": "Clip AsyncClip Artifact",
    "beatra_nb.core.task_list": "TaskList AsyncTaskList PendingList AsyncPendingList LostJob",
    "beatra_nb.core.settings": "Timeouts",
    "beatra_nb.core.prompt": "Prompt Example",
    "beatra_nb.core.prompt_dir": "prompts PromptLibrary",
    "beatra_nb.core.budget": "budget Budget",
    "beatra_nb.batch.result": "BatchResult last_batch",
    "beatra_nb.interact.chat_box": "ChatBox",
    "beatra_nb.interact.compare": "Compare",
    "beatra_nb.interact.task_board": "TaskBoard",
    "beatra_nb.interact.music_studio": "MusicStudio",
    "beatra_nb.interact.prompt_builder": "PromptBuilder",
    "beatra_nb.core.errors": """
        BeatraError ConfigurationError SandboxUnavailable CheckpointError InvalidInput ConnectionFailed Timeout
        TaskTimeout
        IncompleteStream InvalidData APIError AuthenticationError PermissionDenied InsufficientBalance
        InvalidRequest NotFound Conflict RateLimited ServerError UnexpectedResponse TaskFailed Interrupted
        UnknownPrompt BudgetExceeded NotRecorded
    """,
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

if TYPE_CHECKING:
    from beatra_nb import sandbox as sandbox
    from beatra_nb.batch.result import BatchResult as BatchResult
    from beatra_nb.batch.result import last_batch as last_batch
    from beatra_nb.core.async_client import AsyncClient as AsyncClient
    from beatra_nb.core.budget import Budget as Budget
    from beatra_nb.core.budget import budget as budget
    from beatra_nb.core.client import Client as Client
    from beatra_nb.core.conversation import Chat as Chat
    from beatra_nb.core.conversation import Turn as Turn
    from beatra_nb.core.errors import APIError as APIError
    from beatra_nb.core.errors import AuthenticationError as AuthenticationError
    from beatra_nb.core.errors import BeatraError as BeatraError
    from beatra_nb.core.errors import BudgetExceeded as BudgetExceeded
    from beatra_nb.core.errors import CheckpointError as CheckpointError
    from beatra_nb.core.errors import ConfigurationError as ConfigurationError
    from beatra_nb.core.errors import Conflict as Conflict
    from beatra_nb.core.errors import ConnectionFailed as ConnectionFailed
    from beatra_nb.core.errors import IncompleteStream as IncompleteStream
    from beatra_nb.core.errors import InsufficientBalance as InsufficientBalance
    from beatra_nb.core.errors import Interrupted as Interrupted
    from beatra_nb.core.errors import InvalidData as InvalidData
    from beatra_nb.core.errors import InvalidInput as InvalidInput
    from beatra_nb.core.errors import InvalidRequest as InvalidRequest
    from beatra_nb.core.errors import NotFound as NotFound
    from beatra_nb.core.errors import NotRecorded as NotRecorded
    from beatra_nb.core.errors import PermissionDenied as PermissionDenied
    from beatra_nb.core.errors import RateLimited as RateLimited
    from beatra_nb.core.errors import SandboxUnavailable as SandboxUnavailable
    from beatra_nb.core.errors import ServerError as ServerError
    from beatra_nb.core.errors import TaskFailed as TaskFailed
    from beatra_nb.core.errors import TaskTimeout as TaskTimeout
    from beatra_nb.core.errors import Timeout as Timeout
    from beatra_nb.core.errors import UnexpectedResponse as UnexpectedResponse
    from beatra_nb.core.errors import UnknownPrompt as UnknownPrompt
    from beatra_nb.core.media import Artifact as Artifact
    from beatra_nb.core.media import AsyncClip as AsyncClip
    from beatra_nb.core.media import Clip as Clip
    from beatra_nb.core.prompt import Example as Example
    from beatra_nb.core.prompt import Prompt as Prompt
    from beatra_nb.core.prompt_dir import PromptLibrary as PromptLibrary
    from beatra_nb.core.prompt_dir import prompts as prompts
    from beatra_nb.core.reply import Capability as Capability
    from beatra_nb.core.reply import CapabilityList as CapabilityList
    from beatra_nb.core.reply import Health as Health
    from beatra_nb.core.reply import ModelInfo as ModelInfo
    from beatra_nb.core.reply import ModelList as ModelList
    from beatra_nb.core.reply import Reply as Reply
    from beatra_nb.core.reply import ToolCall as ToolCall
    from beatra_nb.core.reply import Usage as Usage
    from beatra_nb.core.settings import Timeouts as Timeouts
    from beatra_nb.core.streams import AsyncTextStream as AsyncTextStream
    from beatra_nb.core.streams import TextStream as TextStream
    from beatra_nb.core.task import AsyncTask as AsyncTask
    from beatra_nb.core.task import Billing as Billing
    from beatra_nb.core.task import Progress as Progress
    from beatra_nb.core.task import Task as Task
    from beatra_nb.core.task import TaskWarning as TaskWarning
    from beatra_nb.core.task_list import AsyncPendingList as AsyncPendingList
    from beatra_nb.core.task_list import AsyncTaskList as AsyncTaskList
    from beatra_nb.core.task_list import LostJob as LostJob
    from beatra_nb.core.task_list import PendingList as PendingList
    from beatra_nb.core.task_list import TaskList as TaskList
    from beatra_nb.interact.chat_box import ChatBox as ChatBox
    from beatra_nb.interact.compare import Compare as Compare
    from beatra_nb.interact.music_studio import MusicStudio as MusicStudio
    from beatra_nb.interact.prompt_builder import PromptBuilder as PromptBuilder
    from beatra_nb.interact.task_board import TaskBoard as TaskBoard
    from beatra_nb.tapes import Taping as Taping
    from beatra_nb.tapes import record as record
    from beatra_nb.tapes import replay as replay
    from beatra_nb.verbs import acapabilities as acapabilities
    from beatra_nb.verbs import achat as achat
    from beatra_nb.verbs import ahealth as ahealth
    from beatra_nb.verbs import amap as amap
    from beatra_nb.verbs import amodels as amodels
    from beatra_nb.verbs import amusic as amusic
    from beatra_nb.verbs import apending as apending
    from beatra_nb.verbs import astream as astream
    from beatra_nb.verbs import atask as atask
    from beatra_nb.verbs import atasks as atasks
    from beatra_nb.verbs import aupload as aupload
    from beatra_nb.verbs import capabilities as capabilities
    from beatra_nb.verbs import chat as chat
    from beatra_nb.verbs import connect as connect
    from beatra_nb.verbs import health as health
    from beatra_nb.verbs import journal as journal
    from beatra_nb.verbs import last as last
    from beatra_nb.verbs import map as map
    from beatra_nb.verbs import models as models
    from beatra_nb.verbs import music as music
    from beatra_nb.verbs import pending as pending
    from beatra_nb.verbs import stream as stream
    from beatra_nb.verbs import task as task
    from beatra_nb.verbs import tasks as tasks
    from beatra_nb.verbs import traceback as traceback
    from beatra_nb.verbs import upload as upload

__all__ = ["__version__", "sandbox", *_HOMES]  # noqa: PLE0604 - the names are strings


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "sandbox":
        return import_module("beatra_nb.sandbox")
    if name not in _HOMES:
        raise AttributeError(f"module 'beatra_nb' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: Any) -> None:  # noqa: ANN401 - IPython's own type, which is not loaded for it
    """Add ``%%chat``, ``%%music`` and ``%beatra``: what ``%load_ext beatra_nb`` runs."""
    from beatra_nb.interact import magics

    magics.load(ipython)


def unload_ipython_extension(ipython: Any) -> None:  # noqa: ANN401
    """Take the magics away again: what ``%unload_ext beatra_nb`` runs."""
    from beatra_nb.interact import magics

    magics.unload(ipython)

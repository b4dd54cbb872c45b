"""What ``beatra-nb sandbox`` says first: where the sandbox is, and how to talk to it with what everybody has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beatra_nb.sandbox import Sandbox


def welcome(box: Sandbox) -> str:
    """Return how to reach a sandbox, with commands to copy."""
    about = {
        "smollm2": "a small language model on this machine (SmolLM2-135M) answers",
        "scripted": "scripted answers; for a real model on this machine run: beatra-nb fetch",
    }[box.engine]
    return f"""beatra sandbox: {about}

  export BEATRA_BASE_URL={box.base_url}
  export BEATRA_API_KEY={box.api_key}

With curl:

  curl {box.base_url}/chat/completions \\
    -H "Authorization: Bearer {box.api_key}" \\
    -H "Content-Type: application/json" \\
    -H "Idempotency-Key: $(uuidgen)" \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "Say hi in five words."}}]}}'

Music: order it, look until it is done, fetch a clip. With a file of your own: upload it first, and send its id.

  auth="Authorization: Bearer {box.api_key}"
  curl {box.base_url}/uploads -H "$auth" -F file=@tune.mp3 -F purpose=reference_audio
  curl {box.base_url}/music/text-to-music -H "$auth" -H "Content-Type: application/json" \\
    -H "Idempotency-Key: $(uuidgen)" -d '{{"model": "auto", "prompt": "dream pop, warm drums"}}'
  curl {box.base_url}/music/reference-audio-to-music -H "$auth" -H "Content-Type: application/json" \\
    -H "Idempotency-Key: $(uuidgen)" -d '{{"prompt": "rock", "reference_audio": {{"artifact_id": "ART_ID"}}}}'
  curl {box.base_url}/tasks/TASK_ID -H "$auth"
  curl -o clip.mp3 AUDIO_URL

With the openai package:

  from openai import OpenAI
  client = OpenAI(base_url="{box.base_url}", api_key="{box.api_key}")

Ctrl-C stops it."""

"""OpenAI's videos as our own servers have them: `POST /v1/videos`, then the job by its id, then its content.

Wires: vllm_omni 0.30 (entrypoints/openai/api_server.py, video/generation), sglang 0.5.23 (multimodal_gen), TensorRT-LLM
(serve/openai_video_routes.py). All three keep their jobs in the process: one that was restarted does not know them.

================  ==============================  ========================  ==========================================
server            body of the POST                DELETE                    what is odd
================  ==============================  ========================  ==========================================
vllm-omni         a form, always                  stops it                  a failed job comes with its own HTTP status
sglang-diffusion  JSON; with a picture a form     only forgets the record   progress up to 99; `deleted` is a state
trtllm            JSON; with a picture a form     stops it                  202; `error` is a text, no `progress`
================  ==============================  ========================  ==========================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.errors import BadAnswer, InvalidRequest, Refused
from gateway.model import JobState, Upstream
from gateway.upstreams import answers
from gateway.upstreams.dialects.forms import File, form
from gateway.upstreams.dialects.media_endpoints import PICTURE_FIELDS
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

JOB_LOST = "job_lost"
"""Code of the fault of a worker that does not know a job which it once took."""
LOST_STATUS, FAILED_STATUS = 404, 500
_STATES: Mapping[str, JobState] = {
    "queued": "queued",
    "pending": "queued",
    "in_progress": "running",
    "processing": "running",
    "running": "running",
    "completed": "succeeded",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
    "deleted": "cancelled",
}
_OURS = PICTURE_FIELDS | {
    *("model", "prompt", "stream", "background", "webhook", "wait", "metadata", "user"),
    *("input_reference", "response_format"),
}
"""Body fields that are the gateway's to say, or to keep."""
_TAKEN = frozenset(
    {
        *("seconds", "size", "width", "height", "fps", "num_frames", "aspect_ratio", "short_edge", "quality", "n"),
        *("num_outputs_per_prompt", "negative_prompt", "seed", "num_inference_steps", "guidance_scale"),
        *("guidance_scale_2", "boundary_ratio", "flow_shift", "true_cfg_scale", "max_sequence_length"),
        *("generate_sound", "sound_duration", "output_quality", "output_compression", "enable_teacache"),
        *("enable_frame_interpolation", "frame_interpolation_exp", "frame_interpolation_scale"),
    }
)
"""What a caller may say to a worker of ours. These servers also take paths of their own disk and addresses to fetch
(SGLang's `input_reference` in JSON, `reference_url`, `extra_body`; `lora`, `output_path`): nobody says those."""
_JSON = ((b"content-type", b"application/json"), (b"accept", b"application/json"))
_PATH = "v1/videos"
_LONGEST_ID, _WHOLE = 256, 100
_SUFFIX = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "video/mp4": "mp4"}


class _Job(msgspec.Struct):
    """What the three have in common. `status` is there in each of them."""

    status: str
    id: str = ""
    progress: Any = None
    error: Any = None


_job = msgspec.json.Decoder(_Job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Videos:
    """`form_only`: JSON is refused. `stoppable`: a DELETE ends the work, and not only its record."""

    name: str
    form_only: bool = False
    stoppable: bool = True
    hosts: tuple[str, ...] = ()
    poll_seconds: float = 1.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        if len(order.pictures) > 1:
            raise InvalidRequest("this model begins from one picture at most", param="input_reference")
        given = {name: value for name, value in order.fields.items() if name not in _OURS}
        for name in given.keys() - _TAKEN:
            raise InvalidRequest(f"`{name}` is not passed on to this model's workers", param=name)
        said = {name: value for name, raw in given.items() if (value := _value(raw)) is not None}
        said |= {"model": order.model, "prompt": order.prompt}
        if not (self.form_only or order.pictures):
            return Call("POST", _PATH, _JSON, msgspec.json.encode(said))
        files = [
            File("input_reference", f"input.{_SUFFIX.get(one.media_type, 'bin')}", one.media_type, one.data)
            for one in order.pictures
        ]
        kind, body = form({name: _text(value) for name, value in said.items()}, files)
        return Call("POST", _PATH, ((b"content-type", kind), (b"accept", b"application/json")), body)

    def submitted(self, order: Order, answer: Answer) -> Told:
        if answer.status >= answers.REFUSED or answers.meaning(answer.status) != "answer":
            raise answers.refusal(answer.status, list(answer.headers), answer.body)
        job = _read(answer)
        if job is None or not 0 < len(job.id) <= _LONGEST_ID:
            raise BadAnswer("took a video job and did not say its id")
        return self._told(job, job.id)

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        return Call("GET", _of(ticket), _JSON[1:], looks=True)

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        job = _read(answer)
        if job is not None and answer.status != LOST_STATUS:  # a failed one comes with any status
            return self._told(job, ticket)
        if answer.status == LOST_STATUS:
            raise Refused(LOST_STATUS, "does not know the job any more", code=JOB_LOST)
        if answer.status < answers.REFUSED:
            raise BadAnswer("answered a look at a video job with something else")
        raise answers.refusal(answer.status, list(answer.headers), answer.body)

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return Call("DELETE", _of(ticket), _JSON[1:]) if self.stoppable else None

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None  # asked of bought APIs alone

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise AssertionError("nothing was looked for")

    def _told(self, job: _Job, ticket: str) -> Told:
        state = _STATES.get(job.status.lower())
        if state is None:
            raise BadAnswer("told a state of a video job that nobody knows")
        if state == "failed":
            code = _code(job.error)
            return Told(state=state, fault=Refused(FAILED_STATUS, f"the job failed{code and f' ({code})'}", code=code))
        if state == "succeeded":
            return Told(state=state, ticket=ticket, percent=_WHOLE, pieces=(_content(ticket),))
        percent = job.progress if type(job.progress) in (int, float) and 0 <= job.progress < _WHOLE else None
        return Told(state=state, ticket=ticket, percent=None if percent is None else int(percent))


def _of(ticket: str) -> str:
    """A ticket is the id of the job."""
    return f"{_PATH}/{quote(ticket, safe='')}"


def _content(ticket: str) -> Piece:
    return Piece("video/mp4", call=Call("GET", f"{_of(ticket)}/content"), name="video")


def _read(answer: Answer) -> _Job | None:
    try:
        return _job.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _value(raw: msgspec.Raw) -> Any:
    """Of a field of the caller's, which is JSON already."""
    return msgspec.json.decode(raw)


def _text(value: Any) -> str:
    """As a form has it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _code(error: Any) -> str:
    """The word of an error object, such as `content_policy_violation`; an engine's repeats the status, or is a text."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and code.isidentifier() else ""


VLLM_OMNI = Videos(name="vllm-omni", form_only=True)
SGLANG = Videos(name="sglang-diffusion", stoppable=False)
TRTLLM = Videos(name="trtllm")

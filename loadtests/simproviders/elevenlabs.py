"""ElevenLabs' speech, as the package `elevenlabs` speaks it."""

from __future__ import annotations

from decimal import Decimal

from .base import Ask, Made, Provider, Rate, Reply, Route, Wrong
from .samples import mp3, wav

_FORMATS = {
    "mp3": ("audio/mpeg", mp3),
    "wav": ("audio/wav", wav),
    "pcm": ("audio/pcm", wav),
    "opus": ("audio/ogg", mp3),
}
_RATES = frozenset({"8000", "16000", "22050", "24000", "32000", "44100", "48000"})
VOICES = frozenset({"JBFqnCBsd6RMkjVDRZzb", "EXAVITQu4vr4xnSDxMaL", "21m00Tcm4TlvDq8ikWAM"})


class ElevenLabs(Provider):
    name = "elevenlabs"
    rates = (
        Rate("eleven_v3", "character", Decimal("0.00008")),
        Rate("eleven_multilingual_v2", "character", Decimal("0.0001")),
        Rate("eleven_flash_v2_5", "character", Decimal("0.00005")),
    )

    def routes(self) -> list[Route]:
        return [Route("POST", r"/v1/text-to-speech/(?P<voice>[\w-]+)", self.speak, submits=True)]

    def authorized(self, ask: Ask) -> bool:
        return ask.headers.get("xi-api-key") == self.key

    def speak(self, ask: Ask) -> Reply:
        assert ask.match is not None
        asked = ask.json
        if ask.match["voice"] not in VOICES:
            raise Wrong(404, "voice_not_found", "A voice with that voice_id was not found.")
        codec, _, rest = ask.query.get("output_format", "mp3_44100_128").partition("_")
        if codec not in _FORMATS or rest.partition("_")[0] not in _RATES:
            raise Wrong(422, "invalid_output_format", "output_format")
        speed = (asked.get("voice_settings") or {}).get("speed", 1.0)
        if not 0.7 <= speed <= 1.2 or not asked.get("text"):
            raise Wrong(400, "invalid_voice_settings", "speed")
        media_type, sample = _FORMATS[codec]
        made = [Made(media_type, sample())]
        job = self.take(asked.get("model_id", "eleven_multilingual_v2"), asked, made, "character", len(asked["text"]))
        job.takes_s = 0.0
        headers = ((b"character-cost", str(len(asked["text"])).encode()), (b"request-id", job.id.encode()))
        return Reply(made[0].data, headers=headers, content_type=media_type.encode())

    def wrong(self, fault: Wrong) -> object:
        return {"detail": {"status": fault.code or "error", "message": fault.message}}

"""Which store of artefacts the settings name, and where it lies."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path

from gateway.errors import StartupFault, extra
from gateway.jobs.artefacts import Artefacts, Lies
from gateway.jobs.folder import Folder
from gateway.settings import Settings

BUCKET = "s3://"
NO_EXTRA = f"GATEWAY_ARTEFACTS is a bucket, and its client is not installed: {extra('s3')}, or give a folder"


def open_artefacts(settings: Settings) -> Artefacts:
    """Raises StartupFault where it could only fail later."""
    if _is_bucket(settings):
        if find_spec("obstore") is None:
            raise StartupFault(NO_EXTRA)
        bucket: Artefacts = importlib.import_module("gateway.jobs.bucket").Bucket(
            settings.artefacts, settings.artefact_bytes
        )
        return bucket
    root = Path(settings.artefacts) if settings.artefacts is not None else settings.data_dir / "artefacts"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise StartupFault(f"GATEWAY_ARTEFACTS: {root} cannot be made ({fault.strerror})") from None
    return Folder(root, settings.artefact_bytes, settings.artefacts_floor)


def lies(settings: Settings) -> Lies:
    """A folder is ours and where the gateway is; of a bucket nothing is known that is not said."""
    bucket = _is_bucket(settings)
    zone = settings.artefacts_zone or (None if bucket else settings.zone)
    return Lies(settings.artefacts_own if bucket else True, zone)


def _is_bucket(settings: Settings) -> bool:
    return settings.artefacts is not None and settings.artefacts.startswith(BUCKET)

"""A tokenizer that is made here, for load tools that would fetch one from a hub: a token for each byte."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

NAME = "local/bytes"
REVISION = "0" * 40
OFFLINE = {"HF_HUB_OFFLINE": "1"}


def hub(home: Path) -> dict[str, str]:
    """Lays it in a hub's cache below `home`; the variables under which it is found there, as `NAME`, and nothing is
    fetched."""
    repository = home / "hub" / f"models--{NAME.replace('/', '--')}"
    write(repository / "snapshots" / REVISION)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    return {"HF_HOME": str(home), **OFFLINE}


def write(place: Path) -> None:
    """As files of a new folder."""
    place.mkdir(parents=True)
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "</s>"]
    made = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.save(str(place / "tokenizer.json"))
    known = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    (place / "tokenizer_config.json").write_text(json.dumps(known))

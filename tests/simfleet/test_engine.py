"""The engine, on a clock of our own: no sleeping, no sockets."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.simfleet.config import WorkerConfig
from loadtests.simfleet.engine import Engine, Phase, Sequence

SMALL = WorkerConfig(name="w", max_num_seqs=4, num_gpu_blocks=64, max_model_len=1024)


def run(engine: Engine, now: float = 0.0, steps: int = 10_000) -> list[tuple[float, Sequence]]:
    """Step until idle (or for so many steps); every token as (time, sequence)."""
    tokens = []
    for _ in range(steps):
        step = engine.begin(now)
        if step is None:
            break
        now = step.end
        tokens += [(now, sequence) for sequence in engine.complete(step)]
    return tokens


def add(engine: Engine, count: int, prompt: int = 16, output: int = 10) -> list[Sequence]:
    sequences = [Sequence(prompt, output, 0.0) for _ in range(count)]
    for sequence in sequences:
        engine.add(sequence)
    return sequences


def test_a_lone_sequence_gets_its_tokens_at_the_documented_times() -> None:
    engine = Engine(SMALL)
    (sequence,) = add(engine, 1, prompt=100, output=3)
    times = [at for at, _ in run(engine)]
    prefill, decode = (42 + 0.04 * 100) / 1000, (42 + 0.5) / 1000
    assert times == pytest.approx([prefill, prefill + decode, prefill + 2 * decode])
    assert (sequence.phase, sequence.generated, sequence.first_token_at) == (Phase.FINISHED, 3, times[0])


def test_a_full_small_worker_gives_20_tokens_a_second_per_sequence() -> None:
    engine = Engine(WorkerConfig(name="w"))
    sequences = add(engine, 16, output=100)
    run(engine)
    for sequence in sequences:
        assert sequence.first_token_at is not None
        assert sequence.last_token_at is not None
        assert 99 / (sequence.last_token_at - sequence.first_token_at) == pytest.approx(20.0)


def test_no_more_than_max_num_seqs_run_and_the_rest_waits_in_order() -> None:
    engine = Engine(SMALL)
    sequences = add(engine, 7)
    assert engine.begin(0.0) is not None
    assert engine.running == sequences[:4]
    assert list(engine.waiting) == sequences[4:]


def test_nothing_waits_while_there_is_room() -> None:
    engine = Engine(SMALL)
    add(engine, 4)
    assert engine.begin(0.0) is not None
    assert not engine.waiting


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_time_between_tokens_grows_with_the_batch(batch: int) -> None:
    engine = Engine(SMALL)
    sequences = add(engine, batch)
    gaps = {round(later - earlier, 9) for earlier, later in pairwise(sorted({at for at, _ in run(engine)}))}
    assert gaps == {round((42 + 0.5 * batch) / 1000, 9)}
    assert all(sequence.generated == 10 for sequence in sequences)


def test_a_long_prompt_is_computed_in_chunks() -> None:
    engine = Engine(msgspec.structs.replace(SMALL, prefill_chunk=256))
    (sequence,) = add(engine, 1, prompt=600, output=1)
    lengths = []
    while step := engine.begin(0.0):
        lengths.append(step.prefill_tokens)
        engine.complete(step)
    assert lengths == [256, 256, 88]
    assert sequence.generated == 1


def test_a_full_kv_cache_makes_sequences_wait() -> None:
    engine = Engine(SMALL)
    sequences = add(engine, 3, prompt=500, output=5)  # 32 blocks each, 64 in all
    assert engine.begin(0.0) is not None
    assert engine.running == sequences[:2]
    assert engine.kv_usage == 1.0


def test_growth_in_a_full_cache_preempts_the_youngest_which_starts_over() -> None:
    engine = Engine(SMALL)
    old, young = add(engine, 2, prompt=500, output=100)
    run(engine, steps=20)
    assert engine.preemptions == 1
    assert (young.preemptions, young.phase, young.computed, young.blocks) == (1, Phase.WAITING, 0, 0)
    assert old.preemptions == 0
    run(engine)
    assert (old.generated, young.generated) == (100, 100)
    assert engine.used_blocks == 0


def test_abort_frees_seat_and_blocks_at_once_even_in_mid_step() -> None:
    engine = Engine(SMALL)
    sequences = add(engine, 5)
    step = engine.begin(0.0)
    assert step is not None
    engine.abort(sequences[1])
    assert engine.running == [sequences[0], *sequences[2:4]]
    assert engine.used_blocks == sum(sequence.blocks for sequence in engine.running)
    assert sequences[1] not in engine.complete(step)
    engine.begin(step.end)
    assert sequences[4] in engine.running


def test_abort_of_a_waiting_or_ended_sequence() -> None:
    engine = Engine(SMALL)
    sequences = add(engine, 5, output=1)
    engine.begin(0.0)
    engine.abort(sequences[4])
    assert not engine.waiting
    engine.abort(sequences[4])  # a second time changes nothing
    assert sequences[4].phase is Phase.ABORTED


def test_slow_stretches_every_step() -> None:
    engine = Engine(SMALL, slow=3.0)
    add(engine, 1, prompt=100, output=1)
    assert run(engine)[0][0] == pytest.approx(3 * 0.046)


arrivals = st.lists(st.tuples(st.integers(1, 800), st.integers(1, 200)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(arrivals, st.lists(st.integers(0, 11), max_size=4), st.integers(0, 30))
def test_seats_and_blocks_are_kept_and_everything_ends(
    shapes: list[tuple[int, int]], aborted: list[int], after: int
) -> None:
    engine = Engine(SMALL)
    sequences = [Sequence(prompt, output, 0.0) for prompt, output in shapes]
    for sequence in sequences:
        engine.add(sequence)
    now, count = 0.0, 0
    while step := engine.begin(now):
        held = [*engine.running, *engine.waiting]
        assert engine.used_blocks == sum(sequence.blocks for sequence in held) <= SMALL.num_gpu_blocks
        assert len(engine.running) <= SMALL.max_num_seqs
        if count == after:
            for place in aborted:
                engine.abort(sequences[place % len(sequences)])
        engine.complete(step)
        now, count = step.end, count + 1
    assert engine.used_blocks == 0
    for sequence in sequences:
        assert sequence.phase is Phase.ABORTED or sequence.generated == sequence.output_tokens


def test_the_same_arrivals_give_the_same_run() -> None:
    def history() -> list[tuple[float, int]]:
        engine = Engine(SMALL)
        sequences = [Sequence(100 + 37 * i % 400, 5 + i, 0.0) for i in range(12)]
        for sequence in sequences:
            engine.add(sequence)
        return [(at, sequences.index(sequence)) for at, sequence in run(engine)]

    assert history() == history()

from __future__ import annotations

from gateway.console.status import added
from gateway.edge.shadow import EXAMPLES, Tally


def tally(same: int, different: int, *times: float) -> dict[str, object]:
    made = Tally("v", same, different)
    made.fields.update({"rule": different})
    made.examples.extend({"time": time} for time in times)
    return made.row()


def test_the_tallies_of_replicas_add_up() -> None:
    told = added([tally(1, 2, 1.0, 4.0), tally(3, 4, *range(5, 5 + EXAMPLES))])
    assert (told["same"], told["different"], told["fields"]) == (4, 6, {"rule": 6})
    assert [example["time"] for example in told["examples"]] == list(range(5, 5 + EXAMPLES))
    assert added([])["same"] == 0


def test_a_tally_of_another_release_counts_with_what_it_has() -> None:
    told = added([tally(1, 2, 1.0), {}, {"same": 3, "unknown": 9}])
    assert (told["same"], told["different"], told["fields"], len(told["examples"])) == (4, 2, {"rule": 2}, 1)

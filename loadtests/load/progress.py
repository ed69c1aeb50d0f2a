"""What is seen while the load runs: a line every few seconds."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.load.measures import percentile
from loadtests.load.phases import phase_at
from loadtests.load.plan import Plan, Result
from loadtests.load.sampler import Sample

LINE_SECONDS = 5.0
HEADING = (
    f"{'time':>6}  {'phase':<11}  {'offered':>9}  {'local':>7}  {'spilled':>7}  {'queue':>5}  {'GPU':>4}  TTFT p95"
)


class Progress:
    """Prints HEADING once and then a line for every LINE_SECONDS."""

    def __init__(self, plan: Plan) -> None:
        self._phases, self._plan = plan.phases, plan
        self._told = -LINE_SECONDS
        self._seen = 0

    def show(self, sample: Sample, results: Sequence[Result]) -> None:
        if sample.at < self._told + LINE_SECONDS:
            return
        if self._told < 0:
            print(HEADING, flush=True)
        since, self._told = max(0.0, self._told), sample.at - sample.at % LINE_SECONDS
        new, self._seen = results[self._seen :], len(results)
        print(self._line(sample, new, since), flush=True)

    def _line(self, sample: Sample, new: Sequence[Result], since: float) -> str:
        """`offered` counts requests due, the rest answers that came, both since the last line."""
        span = max(1.0, sample.at - since)
        due = sum(since <= job.due < sample.at for job in self._plan.jobs)
        local = sum(r.answered and not r.left for r in new)
        spilled = sum(r.answered and r.left for r in new)
        p95 = percentile([r.ttft for r in new if r.ttft is not None], 0.95)
        lost = {
            "shed": sum(r.shed for r in new),
            "failed": sum(r.failed for r in new),
            "left": sum(r.gone for r in new),
        }
        told = ", ".join(f"{count} {what}" for what, count in lost.items() if count)
        over = sample.at >= self._phases[-1].end
        return (
            f"{sample.at:4.0f} s  {'drain' if over else phase_at(self._phases, sample.at).name:<11}  "
            f"{due / span:7.1f}/s  {local / span:5.1f}/s  {spilled / span:5.1f}/s  {_number(sample.queue):>5}  "
            f"{'' if sample.gpu is None else f'{sample.gpu:.0%}':>4}  {'' if p95 is None else f'{p95:.2f} s'}"
            f"{f'  {told}' if told else ''}"
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"

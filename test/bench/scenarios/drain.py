"""Drains of a backlog of no-op jobs: first on a clean server, then with its xmin horizon pinned."""

from statistics import median

import haul
import peers
from result import Goal, Row, Series, Table, in_turn, ratios
from scenario import Bench
from timeline import Timeline
from usual_sql import UsualSql

PLOT_WINDOW = 0.5   # seconds
NOTE = """Jobs/s from the start of the worker until the last completion is in the database. Completions wait for the disk
everywhere; claims do not in haul, where one that a crash takes away is a job that is ready again."""
PINNED_NOTE = """A transaction with a snapshot stays open from before the first job to the end. haul's rates are those of the
last {drain:,} jobs, once {before:,} had finished; a peer's are those of the last third of {seconds} s, or of its last
third of jobs if it did those earlier. Each is compared with the same contestant's clean drain of the same round."""


class Pair:
    """A clean drain and one with the horizon pinned, of one contestant in one round."""

    def __init__(self, bench: Bench, contestant, ours: bool):
        sizes = bench.sizes
        jobs = int(sizes.drain * contestant.share)
        self.clean = drain(bench, contestant, jobs, pinned=False, jobs=jobs)
        tenth = self.clean.finished // 10
        steady = self.clean.rate(tenth, 9 * tenth)
        if ours:
            self.before = sizes.finished_before
            self.pinned = drain(bench, contestant, self.before + jobs, pinned=True, jobs=self.before + jobs)
            self.late = self.pinned.rate(self.before, self.before + 9 * tenth)
        else:
            # As many jobs as it could finish if nothing slowed it down.
            seconds = max(1, int(sizes.pinned_seconds * contestant.pinned_share))
            self.pinned = drain(bench, contestant, int(1.3 * steady * seconds) + 1, pinned=True, seconds=seconds)
            # It may have stopped, or have had nothing left to do, before the last third of the time.
            self.before = min(self.pinned.finished_at(seconds * 2 / 3), self.pinned.finished * 2 // 3)
            self.late = self.pinned.rate(self.before)
        self.kept = 100 * self.late / steady


def drain(bench: Bench, contestant, load: int, pinned: bool, **limit: int) -> Timeline:
    with contestant.database(bench.cluster) as database:
        contestant.load(database, load)
        if not pinned:
            return contestant.drain(database, **limit)
        with database.pinned_horizon():
            return contestant.drain(database, **limit)


def measure(bench: Bench) -> list[Table]:
    ours = [haul.ByWorker(history=False), haul.ByWorker(history=True)]
    in_sql = [haul.BySql(history=False), haul.BySql(history=True)]
    others = [UsualSql(tuned=False), UsualSql(tuned=True)]
    if not bench.tiny:
        others += [peers.GraphileWorker(tuned=False), peers.GraphileWorker(tuned=True), peers.PgBoss(), peers.PgQ()]
    variants = {c.name: lambda c=c: Pair(bench, c, c in ours) for c in ours + others}
    variants |= {c.name: lambda c=c: drain(bench, c, bench.sizes.drain, pinned=False, jobs=bench.sizes.drain) for c in in_sql}
    found = in_turn(bench.sizes.rounds, variants)
    return [clean_table(bench, ours, in_sql, others, found), pinned_table(bench, ours, others, found)]


def clean_table(bench: Bench, ours: list, in_sql: list, others: list, found: dict[str, list]) -> Table:
    rates = {c.name: [pair.clean.rate() for pair in found[c.name]] for c in ours + others}
    rates |= {c.name: [timeline.rate() for timeline in found[c.name]] for c in in_sql}
    without, with_history = ours
    goals = [Goal("worker program, history off", "jobs/s", rates[without.name], at_least=150_000),
             Goal("worker program, history on", "jobs/s", rates[with_history.name], at_least=80_000)]
    for other in others:
        tuned = isinstance(other, peers.GraphileWorker) and other.tuned
        goals.append(Goal(f"worker program, history off, against {other.name}", "times",
                          ratios(rates[without.name], rates[other.name], scale=1), at_least=3 if tuned else None))
    return Table(f"Drain of {bench.sizes.drain:,} no-op jobs", "jobs/s", [Row(n, v) for n, v in rates.items()], goals, NOTE)


def pinned_table(bench: Bench, ours: list, others: list, found: dict[str, list[Pair]]) -> Table:
    rows, goals, series = [], [], []
    for contestant in ours + others:
        pairs = found[contestant.name]
        kept = [pair.kept for pair in pairs]
        rows.append(Row(contestant.name, [pair.late for pair in pairs],
                        f"{median(kept):.0f} % of clean, after {median(pair.before for pair in pairs):,.0f} jobs"))
        series.append(Series(contestant.name, pairs[0].pinned.windows(PLOT_WINDOW)))
        if contestant in ours:
            goals.append(Goal(f"{contestant.name}: of its clean rate", "%", kept, at_least=90))
            goals.append(Goal(f"{contestant.name}: last quarter against the first", "%", [flatness(p) for p in pairs], at_least=90))
    note = PINNED_NOTE.format(drain=bench.sizes.drain, before=bench.sizes.finished_before, seconds=bench.sizes.pinned_seconds)
    return Table("The same with the horizon pinned", "jobs/s", rows, goals, note, series)


def flatness(pair: Pair) -> float:
    timeline, quarter = pair.pinned, pair.pinned.finished // 4
    return 100 * timeline.rate(3 * quarter, 4 * quarter) / timeline.rate(quarter // 10, quarter)

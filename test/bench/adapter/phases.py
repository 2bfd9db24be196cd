"""Phases of a run, as the public harness writes them: LABEL=TYPE:DURATION or LABEL=TYPE(NAME=VALUE,…):DURATION."""

import re
from dataclasses import dataclass, field

# Those whose rate is to be that of the clean phase.
UNDISTURBED = ["clean", "recovery"]
TYPES = UNDISTURBED + ["warmup", "idle-in-tx", "active-readers", "kill-worker", "start-worker", "postgres-restart",
                       "pg-backend-kill", "repeated-kill"]
# Those in which a worker may be given up for dead while it runs a job.
INTERRUPTING = ["kill-worker", "postgres-restart", "pg-backend-kill", "repeated-kill"]
DEFAULT = [
    "warmup=warmup:5s",
    "clean=clean:15s",
    "idle_in_tx=idle-in-tx:15s",
    "after_idle_in_tx=recovery:10s",
    "readers=active-readers(count=4):15s",
    "after_readers=recovery:10s",
    "kill=kill-worker(instance=0):10s",
    "start=start-worker(instance=0):5s",
    "after_kill=recovery:10s",
    "restart=postgres-restart:12s",
    "after_restart=recovery:15s",
    "backend_kill=pg-backend-kill(rate=2):15s",
    "after_backend_kill=recovery:15s",
    "repeated_kill=repeated-kill(instance=0,period=4s):16s",
    "after_repeated_kill=recovery:15s",
]


@dataclass(frozen=True)
class Phase:
    label: str
    type: str
    seconds: float
    parameters: dict[str, str] = field(default_factory=dict)

    def number(self, name: str, otherwise: float) -> float:
        return duration(self.parameters[name]) if name in self.parameters else otherwise


def duration(text: str) -> float:
    """Seconds: 90, 30s, 10m, 2h."""
    found = re.fullmatch(r"([0-9.]+)([smh]?)", text.strip())
    if not found:
        raise ValueError(f"not a duration: \"{text}\"")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def parse(specification: str) -> Phase:
    found = re.fullmatch(r"(\w+)=([a-z-]+)(?:\(([^)]*)\))?:([0-9.]+[smh]?)", specification.strip())
    if not found:
        raise ValueError(f"not LABEL=TYPE:DURATION or LABEL=TYPE(NAME=VALUE,…):DURATION: \"{specification}\"")
    label, type_, parameters, length = found.groups()
    if type_ not in TYPES:
        raise ValueError(f"there is no phase \"{type_}\", only {', '.join(TYPES)}")
    pairs = [pair.partition("=") for pair in (parameters or "").split(",") if pair]
    return Phase(label, type_, duration(length), {name.strip(): value.strip() for name, _, value in pairs})

"""What every scenario is given."""

from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster


@dataclass
class Sizes:
    """Numbers of jobs, and seconds."""

    rounds: int
    drain: int                  # jobs in a drain of ours
    finished_before: int        # jobs finished under a pinned horizon before what counts
    peer_share: float           # of a drain of ours, for peers in C and SQL; others get less
    pinned_seconds: int         # for a peer under a pinned horizon
    insert_seconds: int
    bulk: int
    wal_jobs: int
    bystander_seconds: int
    latency_jobs: int
    backlog: int                # jobs waiting
    future: int                 # jobs in front that are not due
    blocked: int                # jobs in front that the worker may not take
    queues: int                 # as many as a drain's jobs are spread over; twice as many for single checkouts
    priorities: int             # the same
    due_at_once: int            # jobs
    crowd: int                  # idle workers of another kind
    fleet: int                  # of the same
    settings: dict[str, str]    # of the server


FULL = Sizes(rounds=3, drain=300_000, finished_before=1_000_000, peer_share=0.5, pinned_seconds=7, insert_seconds=4,
             bulk=300_000, wal_jobs=20_000, bystander_seconds=300, latency_jobs=300, backlog=10_000_000,
             future=1_000_000, blocked=100_000, queues=10_000, priorities=5_000, due_at_once=100_000,
             crowd=250, fleet=80, settings={"shared_buffers": "4GB"})
SMOKE = Sizes(rounds=1, drain=8_000, finished_before=16_000, peer_share=1, pinned_seconds=1, insert_seconds=1,
              bulk=8_000, wal_jobs=2_000, bystander_seconds=2, latency_jobs=20, backlog=20_000, future=8_000,
              blocked=4_000, queues=400, priorities=200, due_at_once=2_000, crowd=12, fleet=4,
              settings={"shared_buffers": "256MB", "fsync": "off", "haul.worker_timeout": "12s",
                        "haul.maintenance_interval": "1s"})


@dataclass
class Bench:
    cluster: Cluster
    sizes: Sizes
    tiny: bool          # so small that only right or wrong counts; without the peers from npm
    directory: Path     # for results

"""Processes of the adapter: started, paced, listened to, and killed as the public harness does it."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Optional

from cluster import ROOT, WrongResult

PROGRAM = ROOT / "build/bench/haul_bench"
MANIFEST = json.loads((Path(__file__).resolve().parent / "adapter.json").read_text())
START_PATIENCE = 60     # seconds until it must have described itself
STOP_PATIENCE = 5       # seconds from SIGTERM to its end
TOKEN_PERIOD = 0.025    # seconds between tokens
TOKEN_SIZE = 128        # jobs in a token, at most


class Replica:
    """One slot of the fleet; its process may come and go."""

    def __init__(self, instance: int, environment: dict[str, str], rate: float, sample: Callable[[dict], None]):
        self._instance = instance
        self._environment = dict(os.environ, **environment, BENCH_INSTANCE_ID=str(instance))
        self._rate = rate
        self._sample = sample
        self._process: Optional[subprocess.Popen] = None
        self._threads: list[threading.Thread] = []
        self._ending = threading.Event()
        self._described = threading.Event()
        self.errors: list[str] = []

    def start(self) -> None:
        """Returns when it is at work."""
        self._ending.clear()
        self._described.clear()
        self._process = subprocess.Popen([PROGRAM], env=self._environment, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        # Tokens that a replica is too busy to read must not stop us.
        os.set_blocking(self._process.stdin.fileno(), False)
        self._threads = [threading.Thread(target=self._listen), threading.Thread(target=self._pace)]
        for thread in self._threads:
            thread.start()
        if not self._described.wait(START_PATIENCE):
            raise WrongResult(f"replica {self._instance} did not describe itself within {START_PATIENCE} s")

    def runs(self) -> bool:
        return self._process is not None

    def check(self) -> None:
        """Raises when it has ended by itself or broken the protocol."""
        if self._process and self._process.poll() is not None:
            self.errors.append(f"ended with status {self._process.returncode}")
        if self.errors:
            raise WrongResult(f"replica {self._instance}: {'; '.join(self.errors)}")

    def kill(self) -> None:
        if self._process:
            self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In good order, as at the end of a run."""
        if not self._process:
            return
        self.check()
        status, seconds = self._end(signal.SIGTERM)
        if status != 0 or seconds > STOP_PATIENCE:
            raise WrongResult(f"replica {self._instance}: status {status} {seconds:.1f} s after SIGTERM")

    def _end(self, number: signal.Signals) -> tuple[int, float]:
        process, self._process = self._process, None
        begin = time.monotonic()
        self._ending.set()
        process.send_signal(number)
        try:
            status = process.wait(timeout=2 * STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        for thread in self._threads:
            thread.join()
        process.stdin.close()
        process.stdout.close()
        return status, time.monotonic() - begin

    def _listen(self) -> None:
        for line in self._process.stdout:
            try:
                record = json.loads(line)
                if record["kind"] == "descriptor":
                    for name in ("event_tables", "event_indexes", "extensions"):
                        if missing := set(MANIFEST[name]) - set(record[name]):
                            self.errors.append(f"its {name} lack {missing}")
                    self._described.set()
                else:
                    self._sample(record)
            except (ValueError, KeyError, TypeError) as error:
                self.errors.append(f"{error!r} in the record {line.strip()}")

    def _pace(self) -> None:
        descriptor = self._process.stdin.fileno()
        due, counted = 0.0, time.monotonic()
        self._described.wait(START_PATIENCE)
        while not self._ending.wait(TOKEN_PERIOD):
            now = time.monotonic()
            due, counted = due + self._rate * (now - counted), now
            try:
                while due >= 1:
                    size = min(int(due), TOKEN_SIZE)
                    os.write(descriptor, f"ENQUEUE {size}\n".encode())
                    due -= size
            except BlockingIOError:
                pass    # the pipe is full: these jobs stay due
            except BrokenPipeError:
                return

"""A throw-away PostgreSQL cluster, and a fresh database in it for each measurement."""

import itertools
import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30   # seconds for a state that comes by itself


class WrongResult(Exception):
    """A job was lost, or ran twice, or never ran."""


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise WrongResult(f"{what}: {found}, expected {wanted}")


class Cluster:
    """Runs while the `with` block does. Settings are configuration parameters of the server."""

    def __init__(self, settings: dict[str, str]):
        self.directory = tempfile.mkdtemp(prefix="haul-bench.", dir="/tmp")
        # An address of this machine that no other server listens at.
        self.address = f"127.{1 + os.getpid() // 65536 % 200}.{os.getpid() // 256 % 256}.{1 + os.getpid() % 254}"
        self._settings = {"listen_addresses": self.address} | settings
        self._numbers = itertools.count(1)

    def __enter__(self) -> "Cluster":
        options = [word for name, value in self._settings.items() for word in ("-o", f"{name}={value}")]
        try:
            self._script("start", *options)
            self.bindir = self._script("psql", "-qAtc", "SELECT setting FROM pg_config WHERE name = 'BINDIR'")
        except BaseException:
            self._script("destroy")
            raise
        return self

    def __exit__(self, *exception) -> None:
        self._script("destroy")

    def _script(self, action: str, *arguments: str) -> str:
        command = [ROOT / "scripts/cluster", action, self.directory, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def warm_up(self) -> None:
        """Leaves the server as one that has been up for a while: the operating system has given it its memory, and there are
        log files to write over. Both cost time where they come first, on a virtual machine more than all else."""
        with self.database("pg_prewarm") as database:
            database.psql("-c", "CREATE TABLE filler AS SELECT repeat('x', 1900) AS a_quarter_of_a_page"
                                " FROM pg_settings, generate_series(1, 4 * setting::int) WHERE name = 'shared_buffers'",
                          "-c", "SELECT pg_prewarm('filler')", "-c", "DROP TABLE filler", "-c", "CHECKPOINT")

    @contextmanager
    def database(self, *extensions: str) -> Iterator["Database"]:
        """A new database with these extensions, dropped at the end: no measurement inherits what another left behind."""
        database = Database(self, f"bench{next(self._numbers)}")
        server = Database(self, "postgres")
        server.psql("-c", f"CREATE DATABASE {database.name}")
        try:
            for extension in extensions:
                database.psql("-c", f"CREATE EXTENSION {extension} CASCADE")
            yield database
        finally:
            server.psql("-c", f"DROP DATABASE {database.name} WITH (FORCE)")


class Database:
    def __init__(self, cluster: Cluster, name: str):
        self.name = name
        self.directory = cluster.directory
        self.bindir = cluster.bindir
        self.tcp_dsn = f"host={cluster.address} port=5432 user=postgres dbname={name}"

    @property
    def dsn(self) -> str:
        return f"host={self.directory} port=5432 user=postgres dbname={self.name}"

    def environment(self) -> dict[str, str]:
        """For libpq programs, and those that heed the same variables."""
        return dict(os.environ, PGHOST=self.directory, PGPORT="5432", PGUSER="postgres", PGDATABASE=self.name,
                    PGOPTIONS="--client_min_messages=warning")

    def _psql(self) -> list:
        return [f"{self.bindir}/psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"]

    def psql(self, *arguments: str) -> str:
        """What psql prints, without headers and alignment."""
        return subprocess.run([*self._psql(), *arguments], check=True, env=self.environment(), stdout=subprocess.PIPE,
                              text=True).stdout.strip()

    def value(self, query: str) -> str:
        return self.psql("-c", query)

    def number(self, query: str) -> int:
        return int(self.value(query))

    def set(self, name: str, value: str) -> None:
        """For all sessions that begin from now on."""
        self.psql("-c", f"ALTER DATABASE {self.name} SET {name} = '{value}'")

    def copy(self, table: str, rows: int, **values: str) -> None:
        """Bulk-loads so many equal rows with these values of columns."""
        row = "\t".join(values.values())
        self.psql("-c", f"COPY {table} ({', '.join(values)}) FROM PROGRAM $$yes '{row}' | head -n {rows}$$")

    def settle(self, *tables: str) -> None:
        """Leaves tables as a server that had time would, and no checkpoint for the measurement."""
        self.psql("-c", f"VACUUM (ANALYZE) {', '.join(tables)}", "-c", "CHECKPOINT")

    def session(self) -> "Session":
        return Session(self._psql(), self.environment())

    def wait_for(self, what: str, query: str, session: "Session", patience: float = PATIENCE) -> None:
        """Until the query returns true."""
        deadline = time.monotonic() + patience
        while session.value(query) != "t":
            if time.monotonic() > deadline:
                raise WrongResult(f"not within {patience} s: {what}")
            time.sleep(0.02)

    @contextmanager
    def pinned_horizon(self) -> Iterator[None]:
        """A transaction that holds a snapshot, so that no row that dies meanwhile can be removed."""
        with self.session() as session:
            session.value("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
            yield
            expect("the transaction that pins the horizon still runs", session.value("SELECT 1; COMMIT"), "1")


class Session:
    """A connection that stays open, for queries that must disturb little. Use it in a `with` block."""

    def __init__(self, command: list, environment: dict[str, str]):
        self._psql = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception) -> None:
        self._psql.communicate()

    def kill(self) -> None:
        """Whatever it is about."""
        self._psql.kill()
        self._psql.communicate()

    def send(self, query: str) -> None:
        """Does not wait for its end."""
        self._psql.stdin.write(query + ";\n")
        self._psql.stdin.flush()

    def value(self, query: str) -> str:
        """The only line that the query returns."""
        self.send(query)
        line = self._psql.stdout.readline()
        if not line:
            raise RuntimeError(f"psql ended at: {query}")
        return line.strip()

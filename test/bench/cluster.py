"""A throw-away PostgreSQL cluster."""

import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Cluster:
    """Runs while the `with` block does. Settings are configuration parameters of the server."""

    def __init__(self, settings: dict[str, str]):
        self.directory = tempfile.mkdtemp(prefix="haul-bench.", dir="/tmp")
        self._settings = settings

    def __enter__(self) -> "Cluster":
        options = [word for name, value in self._settings.items() for word in ("-o", f"{name}={value}")]
        try:
            self.dsn = self._script("start", *options)
        except BaseException:
            self._script("destroy")
            raise
        return self

    def __exit__(self, *exception) -> None:
        self._script("destroy")

    def _script(self, action: str, *arguments: str) -> str:
        command = [ROOT / "scripts/cluster", action, self.directory, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def psql(self, *arguments: str, stdin: str = "") -> str:
        """What psql prints, without headers and alignment."""
        command = [ROOT / "scripts/cluster", "psql", self.directory, "-qAt", "-v", "ON_ERROR_STOP=1", *arguments]
        return subprocess.run(command, check=True, input=stdin, stdout=subprocess.PIPE, text=True).stdout.strip()

    def value(self, query: str) -> str:
        return self.psql("-c", query)

    def session(self) -> "Session":
        return Session([ROOT / "scripts/cluster", "psql", self.directory, "-qAt", "-v", "ON_ERROR_STOP=1"])

    def environment(self) -> dict[str, str]:
        """For libpq programs that are to connect to it."""
        return dict(os.environ, PGHOST=self.directory, PGPORT="5432", PGUSER="postgres", PGDATABASE="postgres")


class Session:
    """A connection that stays open, for queries that must disturb little. Use it in a `with` block."""

    def __init__(self, command: list):
        self._psql = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception) -> None:
        self._psql.communicate()

    def value(self, query: str) -> str:
        """The only line that the query returns."""
        self._psql.stdin.write(query + ";\n")
        self._psql.stdin.flush()
        line = self._psql.stdout.readline()
        if not line:
            raise RuntimeError(f"psql ended at: {query}")
        return line.strip()

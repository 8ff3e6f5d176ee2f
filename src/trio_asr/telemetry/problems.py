"""The problems that keep the daemon from its job, and since when: the source of readiness and health."""

from __future__ import annotations

from trio_asr.telemetry import logs


class Problems:
    """The open problems, by name: those of the process, and with them those of each shard.

    The beginning and the end of each is one log line, however often it is reported in between. Times are in
    seconds of trio's clock.
    """

    def __init__(self, shard: int | None = None) -> None:
        self._shards: dict[int, Problems] = {}
        self._names = {} if shard is None else {"shard": shard}  # for the log
        self._since: dict[str, float] = {}
        self._of: dict[str, str] = {}  # the problems that are about a key, and what each key is in the way of
        self._log = self.logger("troubles")  # the name that operators know

    def logger(self, name: str) -> logs.Logger:
        """Return a logger whose lines name the shard, if these problems are of one."""
        return logs.get(name).bind(**self._names)

    def of_shard(self, shard: int | None) -> Problems:
        """Return the problems of a shard; those of the process if there are no shards (None)."""
        if shard is None:
            return self
        return self._shards.setdefault(shard, Problems(shard))

    def report(self, name: str, now: float, why: str) -> None:
        """Open the problem `name`, unless it is open already; `why` is for the log."""
        if name not in self._since:
            self._since[name] = now
            self._log.warning(f"Trouble with {name}", why=why)

    def report_key(self, key: str, of: str, now: float, why: str) -> None:
        """Open a problem about a key on the bus that is in the way of the problem `of`.

        It has a name of its own, and is resolved together with `of`.
        """
        name = f"key {key}"
        self._of[name] = of
        self.report(name, now, why)

    def resolve_key(self, key: str, now: float) -> None:
        """Close the problem about a key, if it is open."""
        self.resolve(f"key {key}", now)

    def resolve(self, name: str, now: float) -> None:
        """Close the problem `name`, if it is open, and those about keys in its way."""
        if self._of:
            for key in [key for key, of in self._of.items() if of == name]:
                del self._of[key]
                self.resolve(key, now)
        since = self._since.pop(name, None)
        if since is not None:
            self._log.info(f"Trouble with {name} is over", lasted_s=round(now - since, 3))

    def resolve_all(self, now: float) -> None:
        """Close all of these problems: this worker no longer owns the work that they were in the way of."""
        self._of.clear()
        for name in list(self._since):
            self.resolve(name, now)

    def ages(self, now: float) -> dict[str, float]:
        """Return how long each open problem has lasted, in seconds; of several shards, the longest."""
        ages = {name: now - since for name, since in self._since.items()}
        for shard in self._shards.values():
            for name, age in shard.ages(now).items():
                ages[name] = max(age, ages.get(name, 0.0))
        return ages

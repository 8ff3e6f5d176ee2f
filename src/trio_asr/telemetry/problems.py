"""What keeps the daemon from its job, and since when: what readiness and health are told from."""

from __future__ import annotations

from trio_asr.telemetry import logs


class Problems:
    """Named problems; the beginning and the end of each is one log line, whatever happens in between."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._of: dict[str, str] = {}  # keys that are in trouble, and with what
        self._log = logs.get("troubles")

    def report(self, name: str, now: float, why: str) -> None:
        """Note that `name` is in trouble, unless that is known."""
        if name not in self._since:
            self._since[name] = now
            self._log.warning(f"Trouble with {name}", why=why)

    def report_key(self, key: str, of: str, now: float, why: str) -> None:
        """Note that a key on the bus is in the way of `of`: it has a name of its own, and ends with `of`."""
        name = f"key {key}"
        self._of[name] = of
        self.report(name, now, why)

    def resolve_key(self, key: str, now: float) -> None:
        """Note that a key is in nobody's way any more."""
        self.resolve(f"key {key}", now)

    def resolve(self, name: str, now: float) -> None:
        """Note that `name` is well again, if it was not."""
        if self._of:
            for key in [key for key, of in self._of.items() if of == name]:
                del self._of[key]
                self.resolve(key, now)
        since = self._since.pop(name, None)
        if since is not None:
            self._log.info(f"Trouble with {name} is over", lasted_s=round(now - since, 3))

    def resolve_all(self, now: float) -> None:
        """End all: the work that they kept from being done is nobody's here any more."""
        self._of.clear()
        for name in list(self._since):
            self.resolve(name, now)

    def ages(self, now: float) -> dict[str, float]:
        """Return each trouble there is and for how many seconds it has lasted."""
        return {name: now - since for name, since in self._since.items()}

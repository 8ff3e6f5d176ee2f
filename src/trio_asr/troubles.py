"""What keeps the daemon from its job, and since when: what readiness and health are told from."""

from __future__ import annotations

from trio_asr import logs


class Troubles:
    """Named troubles; the beginning and the end of each is one log line, whatever happens in between."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._log = logs.get("troubles")

    def begin(self, name: str, now: float, why: str) -> None:
        """Note that `name` is in trouble, unless that is known."""
        if name not in self._since:
            self._since[name] = now
            self._log.warning(f"Trouble with {name}", why=why)

    def end(self, name: str, now: float) -> None:
        """Note that `name` is well again, if it was not."""
        since = self._since.pop(name, None)
        if since is not None:
            self._log.info(f"Trouble with {name} is over", lasted_s=round(now - since, 3))

    def clear(self, now: float) -> None:
        """End all: the work that they kept from being done is nobody's here any more."""
        for name in list(self._since):
            self.end(name, now)

    def ages(self, now: float) -> dict[str, float]:
        """Return each trouble there is and for how many seconds it has lasted."""
        return {name: now - since for name, since in self._since.items()}

"""How a configuration is refused."""


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` holds one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))

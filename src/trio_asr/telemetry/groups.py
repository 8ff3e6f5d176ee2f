"""What is in an exception group: each nursery on its way wraps an error once more."""


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a group of groups in their order, or the one that is no group."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]

"""A training that was told to stop, and did."""


class Interrupted(Exception):
    """The step that was under way is finished and kept; the message says how to go on.

    Attributes:
        signal: number of the signal that told it.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal

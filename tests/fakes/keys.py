"""Work with keys and certificates in the test's own process."""

from kubelite.joining import key_program
from kubelite.joining.keys import Answer, Question


class InProcess:
    """Answers at once, and counts who still uses it."""

    def __init__(self) -> None:
        self.users = 0
        self.pauses = 0

    def begin(self) -> None:
        self.users += 1

    def end(self) -> None:
        self.users -= 1

    def pause(self) -> None:
        self.pauses += 1

    def ask(self, question: Question) -> Answer:
        return key_program.answer(question)

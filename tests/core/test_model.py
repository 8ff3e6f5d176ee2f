"""A call of one channel against the model of it: `model_harness` has the rules."""

from typing import ClassVar

from hypothesis import settings
from tests.core.model_harness import CallMachine
from tests.examples import examples

from trio_asr.wire.audio_format import Format, audio_format


class Machine(CallMachine):
    """Linear16 of samples of 10 and 5 ms: few enough to say each of them."""

    formats: ClassVar[list[Format]] = [audio_format(100), audio_format(200)]
    most_s = 1.5


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=examples(150), stateful_step_count=50, deadline=None)

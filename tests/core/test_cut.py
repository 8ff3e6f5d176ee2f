"""The rest of a text: in the provider's own writing, in every script, whatever its words look like."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.cut import cut_text
from trio_asr.wire.messages import Word


def rest(text: str, words: list[str], first: int, last: int | None = None) -> str:
    """What is left of the text from word number `first` on (up to `last`)."""
    kept = [first <= number < (len(words) if last is None else last) for number in range(len(words))]
    return cut_text(text, [Word(word) for word in words], kept)


@pytest.mark.parametrize(
    ("text", "spoken", "first", "left"),
    [
        # without blanks: none are put between them, whatever stands elsewhere in the text
        ("价格是 50 元吗", "价 格 是 五十 元 吗", 4, "元吗"),
        ("สวัสดี 2024 ครับผม", "สวัสดี สองพัน ครับ ผม", 2, "ครับผม"),
        ("你好 OpenAI 的客户", "你好 openai 的 客户", 1, "OpenAI 的客户"),
        ("はい 東京は２０２４年です", "はい 東京 は 2024 年 です", 2, "は２０２４年です"),
        # as the provider writes them, although the words are listed without capitals and marks
        ("Hello, how are you?", "hello how are you", 1, "how are you?"),
        ("Hello, how are you?", "hello how are you", 0, "Hello, how are you?"),
        ("İyi, Ok", "iyi ok", 1, "Ok"),
        # opening marks go with the word after them, closing ones with the word before them
        ("¿Qué tal? ¿Cómo estás?", "qué tal cómo estás", 2, "¿Cómo estás?"),
        ('he said "go now" loud', "he said go now loud", 2, '"go now" loud'),
        ('he said "go now" loud', "he said go now loud", 4, "loud"),
        ("sagte „gut“ leise", "sagte gut leise", 2, "leise"),
        ("hi there. (laughs) ok", "hi there ok", 2, "(laughs) ok"),
        ("他说：“你好”", "他 说 你好", 2, "“你好”"),  # noqa: RUF001
        # what stands for words that are not found goes with them
        ("价格是 50 元吗", "价 格 是 五十 元 吗", 3, "50 元吗"),
        ("it costs $50 now", "it costs fifty dollars now", 2, "$50 now"),
        ("it costs $50 now", "it costs fifty dollars now", 3, "$50 now"),
        ("it costs $50 now", "it costs fifty dollars now", 4, "now"),
        ("hello, 50 dollars", "hello fifty dollars", 1, "50 dollars"),
        ("it costs $50", "it costs fifty dollars", 3, "$50"),
        # a word is not taken for another further on, nor for a part of one
        ("the 50 dollars and fifty cents", "the fifty dollars and fifty cents", 3, "and fifty cents"),
        ("105 men and women", "one hundred and five men and women", 4, "men and women"),
        ("24 canoes can go", "a canoes can go", 1, "canoes can go"),
        ("a cat and a dog", "cat and a dog", 1, "and a dog"),
        ("no no no", "no no no", 1, "no no"),
        # the text is another: the words themselves, with a blank where their script has one
        ("12 3", "a b c", 1, "b c"),
        ("1 2", "一 二 三", 1, "二三"),
        ("1 2", "x ខ្មែរ ລາວ မြန်မာ", 1, "ខ្មែរລາວမြန်မာ"),
        ("1 2", "x 안녕 하세요", 1, "안녕 하세요"),
    ],
)
def test_the_rest_is_as_the_provider_writes_it(text: str, spoken: str, first: int, left: str) -> None:
    assert rest(text, spoken.split(), first) == left


def test_blanks_around_the_words_and_empty_words_are_nothing() -> None:
    assert rest("Hello how are you", [" Hello", " how ", "", " are", " you"], 1) == "how are you"
    assert rest("1", ["x", " how", " are "], 1) == "how are"
    assert rest("Hello", ["", ""], 1) == ""


def test_words_for_which_nothing_stands_in_the_text_add_nothing() -> None:
    assert rest("It's $50", ["It's", "$50", "dollars"], 2) == ""


def test_words_merged_into_the_one_before_are_in_it() -> None:
    words = [Word("it's", punctuated_word="It's"), Word("fifty", punctuated_word="$50")]
    words += [Word("dollars", punctuated_word=""), Word("now", punctuated_word="now")]
    assert cut_text("It's $50 now", words, [False, True, True, True]) == "$50 now"
    assert cut_text("It's $50 now", words, [False, False, False, True]) == "now"


def test_words_that_are_dropped_at_the_end_and_in_between_are_left_out() -> None:
    assert rest("one, two, three, four.", ["one", "two", "three", "four"], 1, 3) == "two, three"
    words = [Word("a"), Word("b"), Word("c")]
    assert cut_text("a b c", words, [True, False, True]) == "a c"


@given(
    st.lists(st.sampled_from(["no", "nobody", "a", "an", "Not", "50", "5"]), min_size=1, max_size=12),
    st.data(),
)
def test_a_text_of_its_words_is_cut_at_any_of_them(words: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(words)))
    assert rest(" ".join(words), [word.lower() for word in words], first) == " ".join(words[first:])
    dense = [chr(0x4E00 + 7 * len(word) + ord(word[0])) for word in words]
    assert rest("".join(dense), dense, first) == "".join(dense[first:])


@given(st.text("aA1 .(一", max_size=30), st.lists(st.text("aA1 .(一", max_size=3), min_size=1), st.data())
def test_any_text_leaves_its_end_or_the_words(text: str, words: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(words)))
    left = rest(text.strip(), words, first)
    assert text.strip().endswith(left) or left == rest("", words, first)


@pytest.mark.parametrize("word", ["a", "b", "ab"])
def test_a_text_of_any_length_takes_no_time(word: str) -> None:
    """The loop belongs to all calls."""
    began = time.process_time()
    rest("a" * 500_000, [word] * 20_000, 10_000)
    assert time.process_time() - began < 2

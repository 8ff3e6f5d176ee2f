"""The rest of a text from one of its words on, cut out of the provider's own text.

Not every language puts blanks between its words, and not every word stands in the text as it is listed: of
"fifty dollars" the text says "$50". So the words that are found anchor the text. The cut lies between the
last anchor that is dropped and the first that is kept, and all that follows is the provider's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trio_asr.wire.messages import Word

# How far a word is looked for: so many words together, so many characters on. A text that has no word of its
# own there is another text; and the loop belongs to all calls.
AHEAD = 16
REACH = 200

# Han, kana, Thai, Lao, Burmese and Khmer, with their marks: no blanks stand beside them. Hangul has blanks.
_DENSE = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\ua9e0-\ua9ff\uaa60-\uaa7f"
    "\u3000-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003ffff]"
)
# A mark that belongs to what follows: by its nature, or because it stands after a blank and before none.
_OPENING = r"[(\[{«‹“‘„‚¿¡「『（［｛《〈【〔〖$€£¥₹#@](?!\s)|(?<!\S)[^\w\s](?=\S)"  # noqa: RUF001
_OPENS = re.compile(_OPENING)
_BEGINS = re.compile(rf"{_OPENING}|\w")
_LETTERS = re.compile(r"\w")


def cut_text(text: str, words: Sequence[Word], kept: Sequence[bool]) -> str:
    """Return the words of `text` that are kept, with what stands between them and after the last of all.

    What stands in the text for words that are not found goes with any of them that is kept: saying it twice
    is better than not at all.
    """
    if all(kept):
        return text
    spoken = [(said, keep) for word, keep in zip(words, kept, strict=True) if (said := word.text.strip())]
    named, keeps = [said for said, _ in spoken], [keep for _, keep in spoken]
    anchors = list(_anchors(text, named))
    if not anchors:  # the text does not consist of these words
        return _joined([said for said, keep in spoken if keep])
    pieces: list[str] = []
    at = after = 0  # in the text, and among the words: behind the anchor before
    for number, begin, end in (*anchors, (len(named), len(text), len(text))):
        unfound = keeps[after:number]
        keep = keeps[min(number, len(keeps) - 1)]  # the end of the text goes with the last word
        if keep or any(unfound):
            pieces.append(text[at if pieces else _opening(text, at, begin, unfound) : begin])
        if keep:
            pieces.append(text[begin:end])
        at, after = end, number + 1
    return "".join(pieces).strip()


def _opening(text: str, at: int, begin: int, unfound: Sequence[bool]) -> int:
    """Return where the rest begins, between what is dropped, up to `at`, and the word at `begin`."""
    if any(unfound):
        opens = _BEGINS.search(text, at, begin + 1)
    else:
        if unfound:  # what stands for them is dropped as well
            at = begin - len(_LETTERS.split(text[at:begin])[-1])
        opens = _OPENS.search(text, at, begin + 1)
    return opens.start() if opens else begin


def _anchors(text: str, words: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield the words that are found in the text, each with its number, begin and end.

    The next one is that for which the fewest characters and words are passed over: the "fifty" that the text
    has as 50 must not be taken for another further on.
    """
    text, words = _folded(text), [_folded(word) for word in words]
    at = number = 0
    while number < len(words):
        best = REACH, 0, 0  # what is passed over, where it is found, and which word it is
        for passed, word in enumerate(words[number : number + AHEAD]):
            if passed >= best[0]:
                break
            if (begin := _find(text, word, at)) >= 0:
                best = min(best, (begin - at + passed, begin, number + passed))
        if best[0] == REACH:
            number += AHEAD
            continue
        _, begin, number = best
        at = begin + len(words[number])
        yield number, begin, at
        number += 1


def _find(text: str, word: str, at: int) -> int:
    """Return where the word is next, or -1. Within a longer word it is not that word."""
    begin = text.find(word, at, at + REACH + len(word))
    end = begin + len(word)
    return -1 if begin < 0 or _within(text, begin) or _within(text, end) else begin


def _within(text: str, at: int) -> bool:
    """Return whether a word with blanks around it goes on at this place."""
    return 0 < at < len(text) and text[at - 1 : at + 1].isalpha() and not _DENSE.search(text, at - 1, at + 1)


def _folded(text: str) -> str:
    """Return the text in lower case, with every character in its place: İ alone would become two."""
    return text.replace("İ", "i").lower()


def _joined(words: Sequence[str]) -> str:
    text = ""
    for word in words:
        apart = text and not _DENSE.match(text[-1]) and not _DENSE.match(word)
        text += f" {word}" if apart else word
    return text

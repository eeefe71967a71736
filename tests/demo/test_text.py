"""Search terms, passages and pieces: text cut for the index and for the eye."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.demo.text import PASSAGE, TERMS, passages, pieces, terms


class TestTerms:
    def test_words_and_pairs_each_once(self) -> None:
        assert terms("Stop STOP the iPhone 退款!") == ["stop", "iphone", "退 款"]

    def test_a_lone_character_stands_for_itself(self) -> None:
        assert terms("钱") == ["钱"]

    def test_question_words_are_left_out(self) -> None:
        assert terms("请问如何退款吗?") == ["退 款"]

    def test_letters_stay_what_the_documents_have(self) -> None:
        assert terms("STRAßE हिन्दी Ｃａｆé") == ["straße", "हिन्दी", "café"]

    def test_they_are_bounded(self) -> None:
        assert len(terms(" ".join(f"word{n}" for n in range(1000)))) == TERMS


class TestPassages:
    def test_headings_name_those_above_them(self) -> None:
        text = "Before\n# A\n## B ##\nb\n### C#\nc\n# D\nd\n"
        assert list(passages(text, markdown=True)) == [("", "Before"), ("A › B", "b"), ("A › B › C#", "c"), ("D", "d")]

    def test_text_has_no_headings(self) -> None:
        assert list(passages("# A\n\nb\n", markdown=False)) == [("", "# A\n\nb")]

    @pytest.mark.parametrize("fence", ["```", "~~~", "````"])
    def test_code_has_no_headings_and_keeps_its_blank_lines(self, fence: str) -> None:
        code = f"{fence}python\n# a comment\n\n    x = 1\n{fence}"
        assert list(passages(f"# A\n{code}\n\nb\n# B\nc", markdown=True)) == [("A", f"{code}\n\nb"), ("B", "c")]

    def test_code_that_is_never_closed(self) -> None:
        assert list(passages("```\n# a\n\nb\n", markdown=True)) == [("", "```\n# a\n\nb")]

    def test_short_paragraphs_stay_together_up_to_the_bound(self) -> None:
        first, second, third = "a" * 300, "b" * 300, "c" * 300
        assert list(passages(f"{first}\n\n\n{second}\n\n{third}", markdown=False)) == [
            ("", f"{first}\n\n{second}"),
            ("", third),
        ]

    @pytest.mark.parametrize(
        "sentence", ["Ten words make a sentence, and this one has more. ", "这是一个句子。", "one line\n"]
    )
    def test_long_paragraphs_are_cut_where_a_sentence_ends(self, sentence: str) -> None:
        text = sentence * 500
        found = [passage for _, passage in passages(text, markdown=False)]
        assert all(len(passage) <= PASSAGE and passage.endswith(sentence.strip()) for passage in found)
        assert "".join("".join(found).split()) == "".join(text.split())

    def test_a_word_without_end_is_cut_all_the_same(self) -> None:
        found = [passage for _, passage in passages("x" * 2000, markdown=False)]
        assert [len(passage) for passage in found] == [PASSAGE, PASSAGE, 400]

    @given(st.text(alphabet="ab #`~\n\t退。.", max_size=3000), st.booleans())
    def test_passages_are_bounded_and_never_blank(self, text: str, markdown: bool) -> None:
        assert all(0 < len(passage) <= PASSAGE and passage.strip() for _, passage in passages(text, markdown=markdown))

    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=3000))
    def test_no_word_of_a_text_is_lost(self, text: str) -> None:
        found = "".join(passage for _, passage in passages(text, markdown=False))
        assert "".join(found.split()) == "".join(text.split())


class TestPieces:
    def test_words_and_characters_keep_the_space_after_them(self) -> None:
        assert pieces("Hi there,\n\n退款 ok。\n") == ["Hi ", "there,\n\n", "退", "款 ", "ok。\n"]

    @given(st.text())
    def test_together_they_are_the_text(self, text: str) -> None:
        assert "".join(pieces(text)) == text

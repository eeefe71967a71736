"""The index of the demo: what is found, in whatever language and syntax; changes of the folder."""

from __future__ import annotations

import logging
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wsserver.demo.index as index_module
from wsserver.demo.index import Index
from wsserver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(index_module.__file__).parent / "docs"

FRUIT = (
    "# Fruit\n\nFruit grows on trees.\n\n## Apples\n\nApples keep for months.\n\n## Plums\n\nPlums are eaten at once.\n"
)
SHOP = "# 常见问题\n\n## 退款\n\n七天内可以申请退款。\n\n## 发票\n\n在订单详情里申请发票。\n"
KANA = "配送は三日かかります。\n\n請求書はメールで届きます。\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fruit.md").write_text(FRUIT, encoding="utf-8")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "faq.md").write_text(SHOP, encoding="utf-8")
    (tmp_path / "kana.txt").write_text(KANA, encoding="utf-8")
    return tmp_path


@pytest.fixture
def index(folder: Path) -> Iterator[Index]:
    index = Index(folder)
    assert index.refresh() == index.documents == 3
    yield index
    index.close()


@pytest.fixture(scope="module")
def documentation() -> Iterator[Index]:
    index = Index(DOCS)
    index.refresh()
    yield index
    index.close()


class TestSearch:
    @pytest.mark.parametrize(
        ("question", "title"),
        [
            ("apples", "fruit.md: Fruit › Apples"),
            ("How long can I keep an APPLE?", "fruit.md: Fruit › Apples"),
            ("plum", "fruit.md: Fruit › Plums"),
            ("退款", "shop/faq.md: 常见问题 › 退款"),
            ("如何申请退款?", "shop/faq.md: 常见问题 › 退款"),
            ("怎么开发票", "shop/faq.md: 常见问题 › 发票"),
            ("iPhone退款refund", "shop/faq.md: 常见问题 › 退款"),
            ("メール", "kana.txt"),
            ("ﾒｰﾙ", "kana.txt"),
        ],
    )
    def test_finds(self, index: Index, question: str, title: str) -> None:
        assert index.search(question)[0].title == title

    @pytest.mark.parametrize(
        "question", ["", " \n", "?!…。", "How is it?", "如何?", "为什么呢", "\x00", "\ud800", "\u0301"]
    )
    def test_a_question_without_a_subject_finds_nothing(self, index: Index, question: str) -> None:
        assert index.search(question) == []

    @pytest.mark.parametrize("question", ["zebra", "斑马"])
    def test_what_no_document_holds_is_not_found(self, index: Index, question: str) -> None:
        assert index.search(question) == []

    @pytest.mark.parametrize(
        "question",
        [
            '"NOT ( plums',
            "plums* AND",
            "plums NEAR",
            "NEAR(plums, 2)",
            "body : plums",
            "^plums",
            '""plums"',
            "plums' OR 1=1 --",
            "{plums",
            "plums\x00",
            "-plums + \\",
        ],
    )
    def test_syntax_of_fts5_is_text(self, index: Index, question: str) -> None:
        assert index.search(question)[0].title == "fruit.md: Fruit › Plums"

    def test_stop_words_do_not_outweigh_the_subject(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("how how how do do I I what is the the of it")
        (tmp_path / "b.txt").write_text("A word on gravity, among many other words of no use here at all.")
        index = Index(tmp_path)
        index.refresh()
        assert [passage.path for passage in index.search("what is the use of gravity and how do I use it")] == ["b.txt"]
        index.close()

    def test_the_best_comes_first_with_the_highest_score(self, documentation: Index) -> None:
        found = documentation.search("How do I stop an answer?")
        assert [passage.score for passage in found] == sorted((p.score for p in found), reverse=True)
        assert found[0].score > 0
        assert found[0].path == "stop.md"

    def test_limit(self, documentation: Index) -> None:
        assert len(documentation.search("session", limit=1)) == 1
        assert len(documentation.search("session", limit=5)) > 1

    @given(st.text() | st.text(alphabet='"*()^:+-{}退款如何 \x00NOTANDRE'))
    def test_any_text_may_be_asked(self, documentation: Index, question: str) -> None:
        assert len(documentation.search(question)) <= 3

    @pytest.mark.parametrize("question", ["退款申请" * 20_000, "word " * 20_000, "x" * 70_000], ids=["zh", "en", "x"])
    def test_a_very_long_question(self, documentation: Index, question: str) -> None:
        documentation.search(question)

    def test_threads_may_search_while_others_refresh(self, index: Index) -> None:
        with ThreadPoolExecutor(8) as threads:
            found = [threads.submit(index.search, "plums") for _ in range(50)]
            counts = [threads.submit(index.refresh) for _ in range(50)]
        assert all(future.result()[0].path == "fruit.md" for future in found)
        assert {future.result() for future in counts} == {3}


class TestFolder:
    def test_changes_are_seen(self, index: Index, folder: Path) -> None:
        (folder / "fruit.md").write_text("# Cherries\n\nThey are red.\n")
        (folder / "new.txt").write_text("A zebra has stripes.")
        (folder / "kana.txt").unlink()
        assert index.refresh() == 3
        assert index.search("apples") == []
        assert index.search("メール") == []
        assert [passage.title for passage in index.search("cherries")] == ["fruit.md: Cherries"]
        assert [passage.path for passage in index.search("zebra")] == ["new.txt"]

    def test_what_did_not_change_is_not_read_again(self, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        def read_text(path: Path, **how: str) -> str:
            raise AssertionError(f"{path} was read again")

        monkeypatch.setattr(Path, "read_text", read_text)
        assert index.refresh() == 3

    def test_only_text_and_markdown_that_is_not_hidden(self, tmp_path: Path) -> None:
        for name in ["a.md", "b.TXT", "c.py", ".hidden.md", ".git/d.md", "sub/sub/e.txt"]:
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("zebra")
        (tmp_path / "folder.md").mkdir()
        index = Index(tmp_path)
        assert index.refresh() == 3
        assert {passage.path for passage in index.search("zebra", limit=9)} == {"a.md", "b.TXT", "sub/sub/e.txt"}
        index.close()

    def test_undecodable_bytes_are_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "latin.txt").write_bytes(b"\xef\xbb\xbfzebra caf\xe9 \x00 end")
        index = Index(tmp_path)
        index.refresh()
        assert [passage.text for passage in index.search("zebra")] == ["zebra caf\ufffd \x00 end"]
        index.close()

    def test_a_name_that_is_not_utf8(self, tmp_path: Path) -> None:
        name = os.fsdecode(b"caf\xe9.md")
        try:
            (tmp_path / name).write_text("zebra")
        except (OSError, UnicodeError):
            pytest.skip("this file system takes no such name")
        index = Index(tmp_path)
        index.refresh()
        assert [passage.path for passage in index.search("zebra")] == ["caf?.md"]
        index.close()

    def test_what_cannot_be_read_is_left_out_with_a_warning(
        self, index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def read_text(path: Path, **how: str) -> str:
            raise PermissionError(13, "Permission denied", str(path))

        (folder / "fruit.md").write_text("secret zebra")
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(Path, "read_text", read_text)
            assert index.refresh() == 2
        assert "fruit.md" in caplog.text
        assert index.search("apples") == []
        assert index.refresh() == 3
        assert index.search("zebra")

    def test_a_link_to_nothing_is_left_out(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        try:
            (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
        except OSError:
            pytest.skip("no links here")
        index = Index(tmp_path)
        assert index.refresh() == 0
        assert "gone.md" in caplog.text
        index.close()

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_pipe_is_no_document(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.md")
        index = Index(tmp_path)
        assert index.refresh() == 0
        index.close()

    def test_a_missing_folder_holds_nothing(self, tmp_path: Path) -> None:
        index = Index(tmp_path / "nowhere")
        assert index.refresh() == 0
        assert index.search("zebra") == []
        index.close()

    def test_sqlite_without_fts5_says_what_to_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        closed = []

        class Bare:
            def execute(self, statement: str) -> None:
                raise sqlite3.OperationalError("no such module: fts5")

            def close(self) -> None:
                closed.append(True)

        monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: Bare())
        with pytest.raises(ConfigError, match="FTS5.*own: wsserver serve module:generate"):
            Index(tmp_path)
        assert closed

import pytest

from drqfaiss.serving._token import is_token, read_token


def test_tokens_come_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("DRQFAISS_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("DRQFAISS_TOKEN", "of-the-environment")
    assert read_token(None) == "of-the-environment"
    (tmp_path / "token").write_text("of-a-file\n")
    assert read_token(tmp_path / "token") == "of-a-file"


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines", "é", "x" * 5000])
def test_what_is_no_token_is_refused_and_not_shown(text, tmp_path):
    (tmp_path / "token").write_text(text)
    with pytest.raises(ValueError, match=r"token: got \d+ characters, expected a token") as told:
        read_token(tmp_path / "token")
    assert text.strip() == "" or text not in str(told.value)


def test_tokens_are_compared_whole():
    assert is_token("abc", "abc")
    assert not any(is_token(given, "abc") for given in ("", "ab", "abcd", "Abc", "é", "\udc80"))

import errno
import signal

import pytest

from demo.__main__ import main, read_users
from medfe.errors import MedfeError


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--host", "0.0.0.0"], "--auth-file FILE or --no-auth"),
        (["--host", "192.168.1.2"], "--auth-file FILE or --no-auth"),
        (["--host", "0.0.0.0", "--no-auth", "--auth-file", "users"], "expected one"),
        (["--auth-file", "absent"], "--auth-file absent"),
        (["--port", "70000"], "--port 70000"),
        (["--max-upload-mb", "0"], "--max-upload-mb 0"),
        (["--max-upload-mb", "nan"], "--max-upload-mb nan"),
        (["--no-shipped"], "no model"),
        (["--no-shipped", "--models", "absent"], "'absent'"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line_with_exit_code_2(capsys, arguments, named):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("medfe: error: ")
    assert message.count("\n") == 1
    assert named in message


@pytest.mark.parametrize("function", ["tempfile.TemporaryDirectory", "demo.app.build_app"])
def test_a_full_temporary_folder_is_told_in_one_line(capsys, monkeypatch, function):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("demo.models.load_contenders", lambda *_: [])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(function, fail)
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "")  # put back afterwards
    with pytest.raises(SystemExit) as ended:
        main([])
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert message.count("\n") == 1
    assert "temporary folder: cannot be written" in message


def test_users_are_read_from_lines_of_name_and_password(tmp_path):
    file = tmp_path / "users"
    file.write_text("# visitors\nada:with:colons\n\ngrace:hopper\n")
    assert read_users(file) == (("ada", "with:colons"), ("grace", "hopper"))


@pytest.mark.parametrize("text", ["", "# nobody\n", "ada\n", ":secret\n", "ada:\n"])
def test_a_file_without_users_or_with_half_a_user_is_refused(tmp_path, text):
    file = tmp_path / "users"
    file.write_text(text)
    with pytest.raises(MedfeError, match="users") as error:
        read_users(file)
    assert "secret" not in str(error.value)

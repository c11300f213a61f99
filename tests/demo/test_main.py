import dataclasses
import errno
import signal

import pytest

from demo.__main__ import SEVERAL, Demo, main, read_users
from medfe.errors import MedfeError


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--host", "0.0.0.0"], "--auth-file FILE or --no-auth"),
        (["--host", "192.168.1.2"], "--auth-file FILE or --no-auth"),
        (["--host", "0.0.0.0", "--no-auth", "--auth-file", "users"], "expected one"),
        (["--public-name", "study.example.org"], "--auth-file FILE or --no-auth"),
        *(
            (["--public-name", name, "--no-auth"], "expected a host name alone")
            for name in ("https://study.example.org", "study.example.org:8443", "study.example.org/", "a b")
        ),
        (["--auth-file", "absent"], "--auth-file absent"),
        (["--port", "70000"], "--port 70000"),
        (["--max-upload-mb", "0"], "--max-upload-mb 0"),
        (["--max-upload-mb", "nan"], "--max-upload-mb nan"),
        (["--no-shipped"], "no model"),
        (["--no-shipped", "--models", "absent"], "'absent'"),
        (["--models", "a", "--models=b"], "--models: given more than once, expected --models VALUE VALUE"),
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


def test_every_option_of_several_values_is_guarded():
    assert tuple(f"--{field.name}" for field in dataclasses.fields(Demo) if "tuple[" in field.type) == SEVERAL


@pytest.mark.parametrize(
    ("function", "named", "told"),
    [
        ("tempfile.TemporaryDirectory", None, "temporary folder: cannot be written"),
        ("demo.app.build_app", None, "temporary folder: cannot be written"),
        ("demo.app.build_app", "results/main.md", "medfe: error: results/main.md: Input/output error"),
        ("demo.pictures.Library", "photographs", "medfe: error: photographs: Input/output error"),
    ],
)
def test_a_file_system_that_fails_at_the_start_is_told_in_one_line(capsys, monkeypatch, function, named, told):
    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error", named)

    monkeypatch.setattr("demo.models.load_contenders", lambda *_: [])
    monkeypatch.setattr("demo.pictures.Library", lambda *_: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(function, fail)
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "")  # put back afterwards
    with pytest.raises(SystemExit) as ended:
        main([])
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert message.count("\n") == 1
    assert told in message


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

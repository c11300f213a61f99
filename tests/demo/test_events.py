import errno
from types import SimpleNamespace

import pytest

from demo.events import told
from medfe.errors import MedfeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MedfeError("there is no hole yet"), "There is no hole yet."),
        (FileNotFoundError(errno.ENOENT, "gone", "runs/1.png"), "The pictures of this run have been cleared away"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/1.png"), "The server&#x27;s disk is full"),
        (OSError("encoder error -2 when writing image file"), "The server&#x27;s disk is full"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_went_wrong_is_told_on_the_status_line_without_a_path(caplog, error, text):
    def handler(self):
        raise error

    (line,) = told(handler)(SimpleNamespace(status="status")).values()
    assert text in line
    assert 'role="alert"' in line
    assert "runs/" not in line
    is_disk = text.startswith("The server")
    assert [record.getMessage().endswith(str(error)) for record in caplog.records] == ([True] if is_disk else [])


def test_what_is_no_fault_of_the_disk_is_not_called_one():
    def handler(self):
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(OSError, match="Too many"):
        told(handler)(SimpleNamespace(status="status"))

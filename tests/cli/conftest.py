"""What tests of commands share."""

import pytest

from sbmlump.cli import run


@pytest.fixture
def call(capsys):
    """A command in this process: exit code, standard output, standard error."""

    def run_it(*arguments):
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_it

"""What the tests of several verbs share."""

from testbed.cli import main


def refused(capsys, *arguments):
    """Run, expect exit code 2 and one line on stderr; returns the line."""
    assert main([str(a) for a in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("testbed: ") and err.count("\n") == 1, err
    return err

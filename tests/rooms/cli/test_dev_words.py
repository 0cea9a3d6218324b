"""What `tocsin dev` prints can be typed as it stands."""

import sys

from tocsin.cli import dev


def test_the_program_is_named_as_the_shell_finds_it(tmp_path, monkeypatch):
    program = tmp_path / ".venv" / "bin" / "tocsin"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert dev._program() == ".venv/bin/tocsin"
    monkeypatch.setenv("PATH", str(program.parent))
    assert dev._program() == "tocsin"
    monkeypatch.setattr(sys, "argv", ["/somewhere/__main__.py"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert dev._program() == "tocsin"

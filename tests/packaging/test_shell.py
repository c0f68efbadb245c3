"""What comes with a package for a shell: completions that complete, and manual pages that are well formed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from stage import BINARY, PATIENCE

SHELLS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}


def script(shell: str) -> str:
    return subprocess.run([BINARY, "completions", shell], check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


def completed(*words: str) -> set[str]:
    """What bash offers for the last of `words`, after it has read our script."""
    line = " ".join(words)
    asks = f"""
        source /dev/stdin <<<"$SCRIPT"
        COMP_WORDS=({line}) COMP_CWORD={len(words) - 1} COMP_LINE="{line}" COMP_POINT={len(line)}
        _tidewire tidewire "{words[-1]}" "{words[-2]}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    run = subprocess.run(
        ["bash", "--norc", "-c", asks], env={"SCRIPT": script("bash"), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=PATIENCE
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_bash_completes_commands_flags_and_values() -> None:
    assert completed("tidewire", "pro") == {"proxy-config"}
    assert completed("tidewire", "sub", "--tran") == {"--transport"}
    assert {"sse", "ws", "poll"} <= completed("tidewire", "sub", "prices", "--transport", "''")


@pytest.mark.parametrize("shell", [*SHELLS, "elvish", "powershell"])
def test_what_help_does_not_show_is_not_offered(shell: str) -> None:
    text = script(shell)
    assert "until-stdin-ends" not in text, "for processes that start a server, and no person"
    # Packages call it when they are built.
    assert "manual pages" not in text and not re.search(r"\bman\b", text)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_read_its_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    path = tmp_path / "script"
    path.write_text(script(shell))
    read = subprocess.run([*SHELLS[shell], str(path)], capture_output=True, text=True, timeout=PATIENCE)
    assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["elvish", "powershell"])
def test_other_shells_have_a_script_too(shell: str) -> None:
    assert "proxy-config" in script(shell)


def test_manual_pages_are_well_formed_and_there_is_one_for_every_command(tmp_path: Path) -> None:
    subprocess.run([BINARY, "man", str(tmp_path)], check=True, timeout=PATIENCE)
    pages = sorted(tmp_path.iterdir())
    help_text = subprocess.run([BINARY, "--help"], check=True, capture_output=True, text=True, timeout=PATIENCE).stdout
    listed = help_text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    commands = {line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "} - {"help"}
    assert {f"tidewire-{command}.1" for command in commands} <= {page.name for page in pages}
    assert not (tmp_path / "tidewire-man.1").exists(), "what is hidden has none"
    for page in pages:
        checked = subprocess.run(
            ["groff", "-man", "-ww", "-z", "-Tutf8", "-Kutf8", str(page)], capture_output=True, text=True, timeout=PATIENCE
        )
        assert (checked.returncode, checked.stderr) == (0, ""), page.name

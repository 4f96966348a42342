#!/usr/bin/env python3
"""Runs every ```console block of a document and compares what comes with what it says.

    LAKEGATE_BIN=... python3 scripts/docs.py README.md

The first block whose command starts the demo is that demo: it is started on a free port, in an empty
home folder, and stays up for the blocks that follow. All other commands run in one shell, in order, as a
reader would type them; `localhost:7780` is the running gateway, `lakegate` the built binary. In what is
expected, an ellipsis (the character) stands for anything within a line, and alone on a line for any lines.
"""

import difflib
import os
import pathlib
import queue
import re
import shlex
import subprocess
import sys
import tempfile
import threading

START_DEADLINE = 120
SHELL_DEADLINE = 300
STARTS_DEMO = re.compile(r"(^|\s)demo$")
ROOT = pathlib.Path(__file__).resolve().parent.parent


class Step:
    """One command of a block and the lines that must follow it."""

    def __init__(self, line):
        self.line = line
        self.command = []
        self.expected = []


def read_steps(path):
    """The steps of all console blocks, in order."""
    steps, step, inside = [], None, False
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if text.startswith("```"):
            inside, step = text == "```console", None
        elif not inside:
            continue
        elif text.startswith("$ "):
            step = Step(number)
            step.command.append(text[2:])
            steps.append(step)
        elif step is None:
            sys.exit(f"{path.name}:{number}: a console block starts with a line `$ command`")
        elif not step.expected and goes_on(step.command):
            step.command.append(text)
        else:
            step.expected.append(text)
    return steps


def goes_on(command):
    """Whether the next line belongs to the command: a backslash at the end, or an open quote."""
    try:
        shlex.split("\n".join(command))
    except ValueError:
        return True
    return command[-1].endswith("\\")


def pattern(expected):
    """The expected lines as a regular expression."""
    parts = []
    for line in expected:
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(".*?".join(re.escape(piece) for piece in line.rstrip().split("…")) + r"[ \t]*\n")
    return re.compile("".join(parts))


def check(name, step, got):
    """Whether the output is the expected one; prints the difference when it is not."""
    text = "".join(line.rstrip() + "\n" for line in got)
    if pattern(step.expected).fullmatch(text):
        return True
    print(f"{name}:{step.line}: $ {' '.join(step.command)}")
    lines = [line.rstrip("\n") for line in got]
    print("\n".join(difflib.unified_diff(step.expected, lines, "the document", "the run", lineterm="")))
    return False


class Demo:
    """The gateway that the document starts."""

    def __init__(self, binary, home):
        environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LAKEGATE__LOG__LEVEL": "error"}
        environment["LAKEGATE__FLIGHT__LISTEN"] = "127.0.0.1:0"
        self.process = subprocess.Popen(
            [binary, "demo", "--listen", "127.0.0.1:0"],
            cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        self.lines = queue.Queue(maxsize=10_000)
        threading.Thread(target=self.read, daemon=True).start()
        self.base = None

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def wait(self):
        """The lines up to and with the one that says where it listens."""
        seen = []
        while True:
            try:
                line = self.lines.get(timeout=START_DEADLINE)
            except queue.Empty:
                sys.exit("the demo did not listen in time:\n" + "".join(seen))
            if line is None:
                sys.exit("the demo ended before it listened:\n" + "".join(seen))
            seen.append(line)
            found = re.match(r"listening rest=http://(\S+) flight=grpc://(\S+)", line)
            if found:
                self.base, flight = found.groups()
                usual = [text.replace(self.base, "127.0.0.1:7780") for text in seen]
                return [text.replace(flight, "127.0.0.1:7781") for text in usual]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def run_shell(steps, binary, home, address):
    """Runs all commands in one shell; the output of each."""
    tools = home / "bin"
    tools.mkdir()
    (tools / "lakegate").symlink_to(binary)
    mark = "---- end of step ----"
    script = ""
    for step in steps:
        script += re.sub(r"(localhost|127\.0\.0\.1):7780", address, "\n".join(step.command))
        script += f"\nprintf '\\n%s\\n' '{mark}'\n"
    environment = {
        "HOME": str(home),
        "PATH": f"{tools}:{os.environ['PATH']}",
        "LAKEGATE_URL": f"http://{address}",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["sh"], input=script, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=SHELL_DEADLINE, check=False,
    )
    outputs = done.stdout.replace(address, "127.0.0.1:7780").split(mark + "\n")[: len(steps)]
    # printf put an empty line before the mark, so that output without a last newline stays apart.
    return [[line + "\n" for line in output.strip("\n").split("\n") if output.strip("\n")] for output in outputs]


def main():
    document = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "README.md").resolve()
    binary = os.environ.get("LAKEGATE_BIN")
    if not binary or not pathlib.Path(binary).exists():
        sys.exit("LAKEGATE_BIN does not name a binary: cargo build --bin lakegate, or run `make docs`")
    steps = read_steps(document)
    starts = [step for step in steps if STARTS_DEMO.search(step.command[0])]
    if not starts:
        sys.exit(f"{document.name}: no console block starts the demo")

    with tempfile.TemporaryDirectory(prefix="lakegate-docs-") as folder:
        home = pathlib.Path(folder)
        demo = Demo(binary, home)
        try:
            greeting = demo.wait()
            good = [check(document.name, step, greeting) for step in starts]
            rest = [step for step in steps if step not in starts]
            outputs = run_shell(rest, binary, home, demo.base)
            if len(outputs) < len(rest):
                sys.exit(f"only {len(outputs)} of {len(rest)} commands ran")
            good += [check(document.name, step, output) for step, output in zip(rest, outputs)]
        finally:
            demo.stop()
    print(f"{document.name}: {sum(good)} commands as documented, {len(good) - sum(good)} not")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()

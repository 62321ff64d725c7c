"""Attack a real server, client or trainer, and say what was measured against what was promised.

    python tests/attack.py                       names the attacks
    python tests/attack.py idle-peers            runs one, as often as the promise is worth something
    python tests/attack.py idle-peers --count 50

The tests run each of them shortly, and look at promises, not at times: those are this command's.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

ATTACKS = Path(__file__).with_name("attacks")
HELPERS = frozenset({"outcome"})
"""Modules of tests/attacks that are no attacks, besides tests."""


def names() -> list[str]:
    """The attacks; each is a module of tests/attacks with COUNT and attack()."""
    modules = (file.stem for file in ATTACKS.glob("*.py"))
    return sorted(name.replace("_", "-") for name in modules if name not in HELPERS and not name.startswith("test_"))


def load(name: str) -> Any:
    """An attack's module: COUNT, what is counted in its docstring's first line, and attack(count) -> Outcome."""
    return importlib.import_module(f"attacks.{name.replace('-', '_')}")


def main() -> int:
    """Run an attack; 0 when everything that was promised held, 1 when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=names(), help="the attack")
    parser.add_argument("--count", type=int, help="how many times (default: the attack's own)")
    options = parser.parse_args()
    if options.name is None:
        for name in names():
            module = load(name)
            print(f"{name:20} {module.COUNT:9,}  {module.__doc__.splitlines()[0]}")
        return 0
    module = load(options.name)
    count = module.COUNT if options.count is None else options.count
    started = time.monotonic()
    outcome = module.attack(count)
    print(f"{options.name}, {count:,} in {time.monotonic() - started:.0f} s: {module.__doc__.splitlines()[0]}")
    for line in outcome.measured:
        print(f"  {line}")
    for mark, sentences in (("BROKEN", outcome.broken), ("SLOW", outcome.slow)):
        for sentence in sentences:
            print(f"  {mark}: {sentence}")
    return 1 if outcome.broken or outcome.slow else 0


if __name__ == "__main__":
    sys.exit(main())

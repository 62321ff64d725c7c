"""The catalogue of faults and bad inputs: what each must get, and the tests that prove it.

    python tests/catalogue.py

prints it. A test names its faults in a decorator: `@pytest.mark.fault(18, 19)` is one for 18 and 19. A fault counts as
covered only when its tests provoke it and check all of what it must get; otherwise its reason says what is missing.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
MARK = "pytest.mark.fault"
GROUPS = {
    "A": ("Connections", range(1, 19)),
    "B": ("Headers", range(19, 33)),
    "C": ("Pictures", range(33, 47)),
    "D": ("Load and cancelling", range(47, 61)),
    "E": ("Processes, devices and the server's place", range(61, 74)),
    "F": ("Who may connect", range(74, 83)),
    "G": ("Files, downloads and training", range(83, 96)),
    "H": ("In GIMP and Krita", range(96, 103)),
}
"""Letter: title and numbers."""


@dataclass(frozen=True)
class Row:
    """A fault.

    Attributes:
        number: From 1, in order.
        text: The fault, and what it must get.
        reason: A sentence: "open: " and what is not covered yet, or "cannot: " and why it cannot be covered here;
            empty when nothing is missing.
    """

    number: int
    text: str
    reason: str = ""

    def mark(self, tests: Sequence[str]) -> str:
        """One of covered, partly, open and cannot, with these tests."""
        if not self.reason:
            return "covered"
        return "partly" if tests else self.reason.partition(":")[0]


ROWS = (
    Row(1, "A frame is announced as gigabytes: that connection is ended"),
    Row(2, "A frame's length is near the largest 64-bit number: connection ended"),
    Row(3, "Messages that never end: bounded memory, sender cut off, others served"),
    Row(4, "Twenty peers promise much and send little: memory does not grow"),
    Row(5, "Another protocol (a browser, TLS) knocks: out within two seconds"),
    Row(6, "Handshake with a mechanism nobody knows: out within two seconds"),
    Row(7, "Older versions of ZMTP: no way round the checks of who connects"),
    Row(8, "A socket of a wrong kind: out within two seconds"),
    Row(9, "A greeting that stops halfway: closed within seconds"),
    Row(10, "Half a frame, then nothing: closed within seconds"),
    Row(11, "Bytes that drip in one by one: closed within seconds"),
    Row(12, "Nonsense commands and flags once connected: the server lives on"),
    Row(13, "A thousand connections that idle: answers stay within 5 ms (p99)"),
    Row(14, "No file descriptor left on tcp: the server survives"),
    Row(15, "No file descriptor left on ipc: libzmq must never get there"),
    Row(16, "A peer dies inside a message: nothing arrives, memory comes back"),
    Row(17, "Somebody claims another peer's routing id: no takeover"),
    Row(18, "Too many, too few or empty frames: BAD_ENVELOPE, ignored after three"),
    Row(19, "No msgpack, nothing, half of it, a forbidden byte: BAD_HEADER"),
    Row(20, "Arrays and maps that claim four billion entries: BAD_HEADER"),
    Row(21, "Nested more than eight deep: BAD_HEADER"),
    Row(22, "Small bytes that decode to much memory: refused by size beforehand"),
    Row(23, "Bytes behind the map: BAD_HEADER"),
    Row(24, "A key that comes twice or is no text: BAD_HEADER"),
    Row(25, "Extension types and times: BAD_HEADER"),
    Row(26, "NaN, infinity, a negative number, another type: BAD_FIELD"),
    Row(27, "A version from elsewhere: UNSUPPORTED_VERSION, and which ones are spoken"),
    Row(28, "An operation that does not exist: UNKNOWN_OP"),
    Row(29, "A field that no message has: BAD_FIELD; optional ones may be there"),
    Row(30, "Headers are refused again and again: memory and descriptors stay"),
    Row(31, "Path or address in place of a name: BAD_NAME, nothing opened"),
    Row(32, "Text that would forge or fill the log: escaped and shortened"),
    Row(33, "Pixels that do not fit the announced shape: LENGTH_MISMATCH, nothing kept"),
    Row(34, "A shape whose product overflows 64 bits: computed right, TOO_LARGE"),
    Row(35, "No rows, no columns, fewer than none, far too many: refused"),
    Row(36, "One pixel, one row, primes: the result has that very size"),
    Row(
        37,
        "More than the server takes: TOO_LARGE before anything is sent",
    ),
    Row(38, "A type or channels that do not exist: BAD_DEPTH or BAD_SHAPE"),
    Row(39, "Pixels that are no numbers: BAD_PIXELS; floats never wrap round"),
    Row(40, "A transparent or single-coloured layer: finite paint, the same alpha"),
    Row(41, "A mask that is not as large as its layer: MASK_SHAPE"),
    Row(42, "A mask that selects nothing: every bit comes back"),
    Row(43, "Pictures with gaps, steps or pictures inside: no message can say so"),
    Row(44, "Chunks that lack, repeat, overlap or change places: BAD_CHUNK"),
    Row(45, "Other pixels than their digest says: BAD_DIGEST, worth another try"),
    Row(46, "A style's file that explodes, ends early or is exotic: refused"),
    Row(47, "Queue full: BUSY within 100 ms, and when to come back"),
    Row(48, "Two clients: they take turns"),
    Row(49, "A client with a thousand jobs: capped, and others notice nothing"),
    Row(50, "A client that reads nothing: little is queued, then its jobs are dropped"),
    Row(51, "A message for a peer that has gone: never lost in silence"),
    Row(
        52,
        "A flood into a busy server: the sender is held up",
        "cannot: the sender is cut off at 512 MiB instead; libzmq aborts when a peer goes that is held up.",
    ),
    Row(53, "A client vanishes while it sends: memory back within five seconds"),
    Row(54, "A client vanishes while its job runs: stopped at the next tile"),
    Row(55, "Cancel, wherever the job is: confirmed, ALREADY_DONE or UNKNOWN_JOB"),
    Row(
        56,
        "Too late when its turn comes: EXPIRED, and never painted",
    ),
    Row(57, "The same job sent again: attached or answered, never painted twice"),
    Row(58, "A known job id with other contents: ID_CONFLICT"),
    Row(59, "Requests are refused: nothing stays behind"),
    Row(60, "The worker hangs: it is replaced; the server says alive, not ready"),
    Row(61, "Server killed in mid-job and started again: the right result comes"),
    Row(62, "The worker crashes or is killed: WORKER_LOST, worth another try"),
    Row(
        63,
        "No memory on the card: smaller tiles, the processor, a clean error",
        "cannot: there is no graphics card here, so nothing shows that a tile's memory on it is released.",
    ),
    Row(64, "Trying the same thing again without a change: never"),
    Row(65, "Painted in tiles: the same picture as at once"),
    Row(66, "The card is taken, missing or fails: soon the processor, with notice"),
    Row(67, "A socket file without a server: lock and probing decide, nothing else"),
    Row(68, "A server lives there already: the second one refuses, the first stays"),
    Row(69, "Somebody else's socket, or no socket, in its place: refused, left alone"),
    Row(70, "The socket's path is too long: a sentence with what to do"),
    Row(71, "The port is taken: another one is used"),
    Row(72, "SIGTERM with work: five seconds for what runs, SHUTTING_DOWN for others"),
    Row(73, "Sent while no server runs: refused at once, nothing queues unseen"),
    Row(74, "No CURVE where CURVE is asked for: nothing is delivered"),
    Row(75, "A key on no list: nothing is delivered"),
    Row(
        76,
        "The wrong key of the server: nothing delivered, tried ever less often",
        "open: libzmq tries 15 times a second until the client gives up; it backs off only where nobody listens.",
    ),
    Row(77, "Nobody answers who may connect: then nobody may"),
    Row(78, "Another user of this machine on the ipc socket: refused"),
    Row(79, "A recorded message comes again: refused, or without harm"),
    Row(80, "Listening to other machines without a key: the server does not start"),
    Row(81, "Pickled bytes, wherever they come in: nothing of them ever runs"),
    Row(82, "A connection file that is a link or readable by others: refused"),
    Row(83, "Killed while it writes a checkpoint: a whole one is there"),
    Row(84, "Half-written files of a killed program: gone after the next start"),
    Row(85, "Disk full or not writable: old file stays, a sentence says why"),
    Row(86, "The newest checkpoint is damaged: the one before, and it is said"),
    Row(87, "A run that is resumed: bit for bit as if never interrupted"),
    Row(88, "A second trainer in one folder: it refuses"),
    Row(89, "A download breaks off: it goes on or begins anew, without leftovers"),
    Row(90, "As many bytes as expected, but others: the digest finds it"),
    Row(91, "The repository moves on: the commit that was pulled stays"),
    Row(92, "No network: the copy here, else the embedded model and a line"),
    Row(93, "The cache was edited or leads nowhere: one more download"),
    Row(94, "Weights with other names, shapes, numbers or a false header: refused"),
    Row(95, "Pickled weights: known by digest, or converted by hand; never running code"),
    Row(96, "Whatever fails: not one pixel of the user's layer has changed"),
    Row(97, "A result is checked as a whole before it becomes a layer"),
    Row(98, "Layer gone or of another size: no result in it unasked"),
    Row(99, "Undo: one step takes back everything"),
    Row(100, "Host quits without a living server: half a second more at most"),
    Row(
        101,
        "The user paints on: the host never stands still above 50 ms",
        "open: Krita is allowed 250 ms, its own insertion is left out, and of GIMP only calls are measured, no window, "
        "with a layer of one megapixel.",
    ),
    Row(102, "A result of a job or a server that is over: ignored"),
)


def fault_numbers(test: ast.FunctionDef) -> list[int]:
    """The numbers in a test's marks, in their order."""
    calls = [decorator for decorator in test.decorator_list if isinstance(decorator, ast.Call)]
    marks = [call for call in calls if ast.unparse(call.func) == MARK]
    return [ast.literal_eval(number) for mark in marks for number in mark.args]


@cache
def marked_tests() -> Mapping[int, list[str]]:
    """Node ids, without parameters, of the tests that are marked with a fault's number; no test is imported."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                for number in fault_numbers(node):
                    found[number].append(f"{file.relative_to(TESTS.parent)}::{node.name}")
    return found


def print_catalogue() -> None:
    """Every row with its mark and its tests, by groups; at the end how many rows have which mark."""
    tests = marked_tests()
    marks = Counter(row.mark(tests[row.number]) for row in ROWS)
    for letter, (title, numbers) in GROUPS.items():
        print(f"{letter}. {title}")
        for row in ROWS[numbers.start - 1 : numbers.stop - 1]:
            print(f"{row.number:5} {row.mark(tests[row.number]):8} {row.text}")
            for line in (*tests[row.number], *filter(None, [row.reason])):
                print(f"{'':15}{line}")
        print()
    counts = ", ".join(f"{marks[mark]} {mark}" for mark in ("covered", "partly", "open", "cannot"))
    print(f"{len(ROWS)} faults: {counts}")


if __name__ == "__main__":
    print_catalogue()

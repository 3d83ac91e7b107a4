"""The clauses of the contract that the suites test, with their ids."""

from __future__ import annotations

__all__ = ["CLAUSES", "MODEL", "MODEL_TITLE"]

CLAUSES: dict[str, dict[str, str]] = {
    "conversation": {
        "C01": "A created session comes back with every field",
        "C02": "Creating a session twice is refused, the stored one untouched",
        "C03": "An unknown session is None",
        "C04": "An update replaces what it may and keeps the rest",
        "C05": "Of two updates of one version exactly one wins",
        "C06": "Create-or-update is one atomic step",
        "C07": "Deleting a session deletes its messages",
        "C08": "Sessions are listed newest first, filtered, in pages",
        "C09": "Messages are numbered 1, 2, 3 ... and ordered by number",
        "C10": "No message without its session",
        "C11": "Appending again is harmless",
        "C12": "A batch is appended whole or not at all",
        "C13": "A limit means the latest messages, oldest first",
        "C14": "Messages can be deleted, a number is never reused",
        "C15": "Messages are counted",
        "C16": "Tool calls survive",
        "C17": "What goes in comes out, whatever it is",
        "C18": "A write to the messages raises updated_at, which never goes back",
        "C19": "One store can be shared by threads or tasks",
        "C20": "Stores on the same data see each other's writes at once",
        "C21": "A closed store says so; closing again is harmless",
        "C22": "Prefixes see nothing of each other",
        "C23": "Identifiers are validated before any connection",
        "C24": "What was acknowledged survives a killed process",
        "C25": "Any text is an id, and all ids are different",
        "C26": "Constructing touches nothing; a dead server is reported as such",
        "C27": "Full-text search, and forking a session",
        "C28": "A session and its messages are rewritten, or made, in one step",
    },
    "state": {
        "S01": "Every JSON value comes back with its type",
        "S02": "A stored None is not an absent key",
        "S03": "A key is gone when its time is up",
        "S04": "The time to live can be read and set",
        "S05": "Keys are found by glob and by prefix, completely",
        "S06": "Hashes keep every field",
        "S07": "Plain values and hashes are not mixed up",
        "S08": "Compare-and-set and its kin are atomic",
        "S09": "Many keys in one call",
        "S10": "The JSON methods, and clearing only what is ours",
        "S11": "Prefixes see nothing of each other; any text is a key",
        "S12": "Shared, durable, closed, connected: as conversations",
    },
    "knowledge": {
        "K01": "Collections are created, listed and deleted",
        "K02": "Documents are inserted or replaced, a batch as a whole",
        "K03": "Wrong embeddings and unknown collections are refused",
        "K04": "Search is best first, and scores mean the same everywhere",
        "K05": "The filter language",
        "K06": "A filter is never ignored and never widened",
        "K07": "Documents are read and counted",
        "K08": "Documents are deleted by id or filter, never all by accident",
        "K09": "The true nearest are found",
        "K10": "Metadata come back equal, also from search",
        "K11": "A write is visible to the next search",
        "K12": "Shared, durable, closed, connected: as conversations",
    },
    "lifecycle": {
        "L01": "A constructor opens nothing",
        "L02": "Closing waits for calls, and is final",
        "L03": "An interrupted call leaves the store working",
        "L04": "A cancelled call is done or not done, never under way",
        "L05": "No call waits for ever",
        "L06": "A store that was used can be forked",
        "L07": "An async store works on several event loops",
        "L08": "A call inside of another call never deadlocks",
        "L09": "A place that was removed or replaced takes nothing silently",
        "L10": "Secrets stay secret, files stay private",
        "L11": "Errors are ours, whatever is passed",
        "L12": "Big input takes bounded time",
    },
}
"""Kind, then id, then a title in one line; the clauses under ``lifecycle`` are those of stores of all three kinds."""

MODEL = "model"
MODEL_TITLE = "Random walks through all operations agree with the in-memory reference"

"""What the push service keeps for real browsers: who they are, their channels, messages that wait, acknowledgements.

An SQLite file in the lab's directory, so that a browser's endpoints and messages outlive the lab. Acknowledgements are
kept for reading and told to nobody else.
"""

import secrets
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

_SCHEMA = """
create table if not exists browsers (uaid text primary key, seen_at real not null) strict;
create table if not exists channels (
  name text primary key, uaid text not null, channel text not null, vapid_key text, gone integer not null default 0
) strict;
create unique index if not exists channels_live on channels (uaid, channel) where gone = 0;
create table if not exists messages (
  id text primary key, name text not null, uaid text not null, channel text not null, topic text,
  expires_at real not null, ttl integer not null, body blob not null
) strict;
create index if not exists messages_waiting on messages (uaid);
create table if not exists acks (
  n integer primary key autoincrement, at real not null, kind text not null, uaid text not null, channel text,
  version text not null, code integer
) strict;
"""


class Channel(NamedTuple):
    """A subscription of a browser: the name in its endpoint, whose it is, and the VAPID key it is bound to, if any."""

    name: str
    uaid: str
    channel: str
    vapid_key: str | None
    gone: bool


class Stored(NamedTuple):
    """A message that waits for its browser's acknowledgement. `ttl` in seconds, `expires_at` since the epoch."""

    id: str
    name: str
    uaid: str
    channel: str
    topic: str | None
    expires_at: float
    ttl: int
    body: bytes


class Taken(ValueError):
    """The channel is registered with another VAPID key."""


class Browsers:
    """The file. Every change is committed at once."""

    def __init__(self, path: Path) -> None:
        """Open or make the file."""
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_SCHEMA)
        path.chmod(0o600)

    def hello(self, uaid: str | None) -> str:
        """The id of a browser that says hello: its own if we know it, else a new one."""
        now = time.time()
        if uaid is not None:
            known = self._db.execute("update browsers set seen_at = ? where uaid = ?", (now, uaid))
            if known.rowcount:
                return uaid
        uaid = secrets.token_hex(16)
        self._db.execute("insert into browsers values (?, ?)", (uaid, now))
        return uaid

    def register(self, uaid: str, channel: str, vapid_key: str | None) -> Channel:
        """The subscription of a channel, the same one if asked again with the same key; raises Taken for another."""
        row = self._db.execute(
            "select name, uaid, channel, vapid_key, gone from channels where uaid = ? and channel = ? and gone = 0",
            (uaid, channel),
        ).fetchone()
        if row is None:
            made = Channel("b" + secrets.token_urlsafe(32), uaid, channel, vapid_key, gone=False)
            self._db.execute("insert into channels values (?, ?, ?, ?, 0)", made[:4])
            return made
        known = Channel(row[0], row[1], row[2], row[3], gone=False)
        if known.vapid_key != vapid_key:
            raise Taken("the channel is registered with another key")
        return known

    def unregister(self, uaid: str, channel: str) -> bool:
        """End a subscription and drop its messages; whether there was one."""
        self._db.execute("delete from messages where uaid = ? and channel = ?", (uaid, channel))
        ended = self._db.execute(
            "update channels set gone = 1 where uaid = ? and channel = ? and gone = 0", (uaid, channel)
        )
        return ended.rowcount > 0

    def find(self, name: str) -> Channel | None:
        """The subscription whose endpoint ends in `name`, also one that has ended."""
        row = self._db.execute(
            "select name, uaid, channel, vapid_key, gone from channels where name = ?", (name,)
        ).fetchone()
        return Channel(row[0], row[1], row[2], row[3], gone=bool(row[4])) if row else None

    def store(self, message: Stored) -> None:
        """Keep a message; one of the same topic for the same subscription is replaced (RFC 8030 section 5.4)."""
        if message.topic is not None:
            self._db.execute("delete from messages where name = ? and topic = ?", (message.name, message.topic))
        self._db.execute("insert into messages values (?, ?, ?, ?, ?, ?, ?, ?)", message)

    def waiting(self, uaid: str, now: float) -> list[Stored]:
        """The browser's messages that are still good at `now`, oldest first; those that are not are dropped."""
        self._db.execute("delete from messages where expires_at <= ?", (now,))
        rows = self._db.execute("select * from messages where uaid = ? order by rowid", (uaid,))
        return [Stored(*row) for row in rows]

    def drop(self, message_id: str) -> bool:
        """Drop a message; whether it was still there."""
        return self._db.execute("delete from messages where id = ?", (message_id,)).rowcount > 0

    def acknowledge(self, kind: str, uaid: str, channel: str | None, version: str, code: int | None) -> None:
        """Write down an ack or a nack."""
        self._db.execute(
            "insert into acks (at, kind, uaid, channel, version, code) values (?, ?, ?, ?, ?, ?)",
            (time.time(), kind, uaid, channel, version, code),
        )

    def acks(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Acknowledgements numbered above `after`, in the order they came."""
        names = ("n", "at", "kind", "uaid", "channel", "version", "code")
        rows = self._db.execute(f"select {', '.join(names)} from acks where n > ? order by n limit ?", (after, limit))  # noqa: S608 - names are ours
        return [dict(zip(names, row, strict=True)) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many browsers, live channels and waiting messages there are."""
        row = self._db.execute(
            "select (select count(*) from browsers), (select count(*) from channels where gone = 0), "
            "(select count(*) from messages)"
        ).fetchone()
        return dict(zip(("browsers", "channels", "waiting"), row, strict=True))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

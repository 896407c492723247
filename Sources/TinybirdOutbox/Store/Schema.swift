/// The tables, indexes and views of an outbox, as the scripts that lead from each format version to the next.
///
/// They live in users' files for ever. A change is a new entry of ``migrations``, never an edit of an old one. Times are
/// milliseconds since 1970 in UTC; byte counts are those of the NDJSON as sent, a newline behind each event.
enum Schema {
  /// Marks a file of our own in its header; `file(1)` shows it.
  ///
  /// The letters "TBOX".
  static let applicationID: Int64 = 0x5442_4F58

  /// What this version of the library reads and writes.
  static var formatVersion: Int64 { Int64(migrations.count) }

  /// The scripts that lead from version n to n + 1, from version 0 on.
  static let migrations = [version1, version2]

  private static let version1 = """
    -- format_version, outbox_id (16 bytes), created_at, holder_pid (the process that delivers, while it does).
    CREATE TABLE outbox_meta (
      name TEXT PRIMARY KEY NOT NULL,
      value ANY NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- One row a data source: its sequence, its lane, and what was pruned of its ledger.
    CREATE TABLE outbox_data_sources (
      id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 32767),
      name TEXT NOT NULL UNIQUE,
      next_sequence INTEGER NOT NULL DEFAULT 1,
      next_unbatched INTEGER NOT NULL DEFAULT 1,
      appended_bytes INTEGER NOT NULL DEFAULT 0,
      batched_bytes INTEGER NOT NULL DEFAULT 0,
      -- The lane. hold_kind is NULL while it is not held; command_count grows with every command of an operator.
      lane_failures INTEGER NOT NULL DEFAULT 0,
      lane_retry_at INTEGER,
      hold_kind TEXT,
      hold_status INTEGER,
      hold_batch_id INTEGER,
      held_at INTEGER,
      command_count INTEGER NOT NULL DEFAULT 0,
      last_status INTEGER,
      last_answer TEXT,
      last_answer_at INTEGER,
      last_delivered_at INTEGER,
      -- Totals of what the service answered, for ever.
      successful_rows INTEGER NOT NULL DEFAULT 0,
      quarantined_rows INTEGER NOT NULL DEFAULT 0,
      -- Events of ledger rows that are gone: conservation counts them.
      pruned_delivered INTEGER NOT NULL DEFAULT 0,
      pruned_discarded INTEGER NOT NULL DEFAULT 0,
      pruned_damaged INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    -- The events, as committed. key is data source << 48 | first sequence number. Never changed; crc32 is that of the
    -- NDJSON, before any encoding; NULL where SQL wrote the chunk.
    CREATE TABLE outbox_chunks (
      key INTEGER PRIMARY KEY,
      event_count INTEGER NOT NULL,
      byte_count INTEGER NOT NULL,
      encoding TEXT NOT NULL,
      crc32 INTEGER,
      outbox_id BLOB NOT NULL,
      committed_at INTEGER NOT NULL,
      payload BLOB NOT NULL
    ) STRICT;

    -- The ledger. Rows of kind 'append' are ranges that tile all that was ever batched; 'replay' rows stand for dead
    -- letters that carry their id, 'resend' rows for delivered ranges that are sent once more.
    CREATE TABLE outbox_batches (
      id INTEGER PRIMARY KEY,
      data_source_id INTEGER NOT NULL REFERENCES outbox_data_sources (id),
      kind TEXT NOT NULL CHECK (kind IN ('append', 'replay', 'resend')),
      first_sequence INTEGER NOT NULL,
      last_sequence INTEGER NOT NULL CHECK (last_sequence >= first_sequence),
      event_count INTEGER NOT NULL CHECK (event_count > 0),
      byte_count INTEGER NOT NULL,
      state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead', 'discarded', 'damaged')),
      inserted TEXT NOT NULL CHECK (inserted IN ('no', 'maybe', 'yes')),
      -- Attempts that count as the batch's own failure or success, and those after which rows may be inserted without
      -- an acknowledgement: a delivered batch with any of the latter may be duplicated.
      attempts INTEGER NOT NULL DEFAULT 0,
      uncertain_attempts INTEGER NOT NULL DEFAULT 0,
      isolating INTEGER NOT NULL DEFAULT 0,
      -- Not NULL while a request may be under way; what a crash leaves behind is 'maybe'.
      sending_since INTEGER,
      next_attempt_at INTEGER,
      successful_rows INTEGER,
      quarantined_rows INTEGER,
      warning TEXT,
      acknowledged_at INTEGER,
      formed_at INTEGER NOT NULL,
      settled_at INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX outbox_batches_by_range
      ON outbox_batches (data_source_id, first_sequence) WHERE kind = 'append';
    CREATE INDEX outbox_batches_pending
      ON outbox_batches (data_source_id, first_sequence) WHERE state = 'pending';

    -- One row an event that the service refused, under its own key.
    CREATE TABLE outbox_dead_letters (
      key INTEGER PRIMARY KEY,
      payload TEXT NOT NULL,
      committed_at INTEGER NOT NULL,
      state TEXT NOT NULL CHECK (state IN ('dead', 'replaying')),
      replay_batch_id INTEGER,
      reason TEXT NOT NULL,
      status INTEGER,
      answer TEXT,
      attempts INTEGER NOT NULL,
      inserted TEXT NOT NULL CHECK (inserted IN ('no', 'maybe', 'yes')),
      dead_at INTEGER NOT NULL,
      repaired_at INTEGER
    ) STRICT;
    CREATE INDEX outbox_dead_letters_replaying
      ON outbox_dead_letters (replay_batch_id, key) WHERE state = 'replaying';

    -- The log of requests and answers, kept to a bounded number of rows.
    CREATE TABLE outbox_attempts (
      id INTEGER PRIMARY KEY,
      batch_id INTEGER NOT NULL,
      data_source_id INTEGER NOT NULL,
      first_sequence INTEGER NOT NULL,
      last_sequence INTEGER NOT NULL,
      event_count INTEGER NOT NULL,
      sent_bytes INTEGER NOT NULL,
      started_at INTEGER NOT NULL,
      latency_milliseconds INTEGER NOT NULL,
      status INTEGER,
      verdict TEXT NOT NULL,
      inserted TEXT NOT NULL CHECK (inserted IN ('no', 'maybe', 'yes')),
      answer TEXT
    ) STRICT;

    -- For the sqlite3 shell. Both read the whole backlog.
    CREATE VIEW outbox_ranges AS
      SELECT s.name AS data_source, b.first_sequence AS first, b.last_sequence AS last, b.state AS state,
        b.inserted AS inserted, b.attempts AS attempts, b.uncertain_attempts AS uncertain_attempts,
        strftime('%Y-%m-%dT%H:%M:%fZ', b.formed_at / 1000.0, 'unixepoch') AS since,
        strftime('%Y-%m-%dT%H:%M:%fZ', b.settled_at / 1000.0, 'unixepoch') AS settled_at,
        NULL AS encoding
      FROM outbox_batches b JOIN outbox_data_sources s ON s.id = b.data_source_id
      WHERE b.kind = 'append'
      UNION ALL
      SELECT s.name, c.key & 281474976710655, (c.key & 281474976710655) + c.event_count - 1, 'pending',
        'no', 0, 0, strftime('%Y-%m-%dT%H:%M:%fZ', c.committed_at / 1000.0, 'unixepoch'), NULL, c.encoding
      FROM outbox_data_sources s JOIN outbox_chunks c
        ON c.key BETWEEN (s.id << 48) + s.next_unbatched AND (s.id << 48) + 281474976710655;

    CREATE VIEW outbox_events AS
      SELECT s.name AS data_source, (c.key & 281474976710655) + j.key AS sequence,
        strftime('%Y-%m-%dT%H:%M:%fZ', c.committed_at / 1000.0, 'unixepoch') AS committed_at,
        c.encoding AS encoding, CASE c.encoding WHEN 'plain' THEN j.value END AS payload
      FROM outbox_data_sources s
      JOIN outbox_chunks c ON c.key BETWEEN (s.id << 48) AND (s.id << 48) + 281474976710655
      JOIN json_each(
        CASE c.encoding
          WHEN 'plain' THEN '[' || replace(rtrim(CAST(c.payload AS TEXT), char(10)), char(10), ',') || ']'
          ELSE '[' || rtrim(replace(hex(zeroblob(c.event_count)), '00', '0,'), ',') || ']'
        END) j;
    """
  /// What pruning needs: the rows that may go, oldest first, and the possible duplicates among those that are gone.
  ///
  /// Never what is pending, dead or damaged, nor a warning that nobody has acknowledged. Rows of replays and resends only
  /// tell of requests: they may go whatever became of them.
  private static let version2 = """
    ALTER TABLE outbox_data_sources ADD COLUMN pruned_uncertain INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox_dead_letters ADD COLUMN repaired_crc32 INTEGER;
    CREATE INDEX outbox_batches_prunable ON outbox_batches (settled_at)
      WHERE settled_at IS NOT NULL AND (kind <> 'append' OR state IN ('delivered', 'discarded'))
        AND (warning IS NULL OR acknowledged_at IS NOT NULL);
    """
}

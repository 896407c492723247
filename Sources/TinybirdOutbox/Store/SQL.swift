/// Every statement that runs on an outbox, except the schema and the pragmas.
enum SQL {
  // MARK: Opening

  static let countSchemaObjects = "SELECT count(*) FROM sqlite_schema"
  static let metaTableExists = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'outbox_meta'"
  static let selectMeta = "SELECT value FROM outbox_meta WHERE name = ?1"
  static let selectOwnObjects = """
    SELECT name, sql FROM sqlite_schema
    WHERE sql IS NOT NULL AND (name LIKE 'outbox\\_%' ESCAPE '\\' OR tbl_name LIKE 'outbox\\_%' ESCAPE '\\')
    """
  static let countForeignObjects = """
    SELECT count(*) FROM sqlite_schema
    WHERE name NOT LIKE 'outbox\\_%' ESCAPE '\\' AND tbl_name NOT LIKE 'outbox\\_%' ESCAPE '\\'
    """
  static let insertMeta = "INSERT INTO outbox_meta (name, value) VALUES (?1, ?2)"
  static let replaceMeta = "REPLACE INTO outbox_meta (name, value) VALUES (?1, ?2)"
  static let deleteMeta = "DELETE FROM outbox_meta WHERE name = ?1"
  static let checkpointAndRestart = "PRAGMA wal_checkpoint(RESTART)"
  static let checkpointAndTruncate = "PRAGMA wal_checkpoint(TRUNCATE)"

  // MARK: Space

  /// Gives whether it was held up, the pages in the log, and those of them that are folded into the file now.
  static let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)"

  static let pageCount = "PRAGMA page_count"
  static let freePageCount = "PRAGMA freelist_count"
  static let pageSize = "PRAGMA page_size"
  static let applicationID = "PRAGMA application_id"

  // MARK: Appending

  static let selectSequence = "SELECT id, next_sequence FROM outbox_data_sources WHERE name = ?1"
  static let insertDataSource = "INSERT INTO outbox_data_sources (name) VALUES (?1) RETURNING id"
  static let countDataSources = "SELECT count(*) FROM outbox_data_sources"
  static let selectLastChunkHeader = """
    SELECT key, event_count FROM outbox_chunks WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1
    """
  static let advanceSequence = """
    UPDATE outbox_data_sources SET next_sequence = ?2, appended_bytes = appended_bytes + ?3 WHERE id = ?1
    """
  static let insertChunk = """
    INSERT INTO outbox_chunks (key, event_count, byte_count, encoding, crc32, outbox_id, committed_at, payload)
    VALUES (?1, ?2, ?3, 'plain', ?4, ?5, ?6, ?7)
    """

  // MARK: Forming batches

  static let selectChunkHeadersFrom = """
    SELECT key, event_count, byte_count FROM outbox_chunks WHERE key BETWEEN ?1 AND ?2 ORDER BY key
    """
  static let lastBatchedSequence = """
    SELECT last_sequence FROM outbox_batches
    WHERE kind = 'append' AND data_source_id = ?1 ORDER BY first_sequence DESC LIMIT 1
    """
  static let advanceUnbatched = """
    UPDATE outbox_data_sources SET next_unbatched = ?3, batched_bytes = batched_bytes + ?4
    WHERE id = ?1 AND next_unbatched = ?2
    """
  static let insertBatch = """
    INSERT INTO outbox_batches (data_source_id, kind, first_sequence, last_sequence, event_count, byte_count, state,
      inserted, attempts, uncertain_attempts, isolating, sending_since, formed_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7, ?8, ?9, ?10, ?11, ?12) RETURNING id
    """
  static let markSending = "UPDATE outbox_batches SET sending_since = ?2 WHERE id = ?1 AND state = 'pending'"
  static let recoverInterrupted = """
    UPDATE outbox_batches
    SET inserted = 'maybe', uncertain_attempts = uncertain_attempts + 1, sending_since = NULL
    WHERE state = 'pending' AND sending_since IS NOT NULL
    """
  /// A restored backup: whatever it shows as not delivered may have been since.
  static let doubtUndelivered = """
    UPDATE outbox_batches SET inserted = 'maybe', uncertain_attempts = uncertain_attempts + 1, sending_since = NULL
    WHERE state IN ('pending', 'dead')
    """
  static let doubtDeadLetters = "UPDATE outbox_dead_letters SET inserted = 'maybe' WHERE inserted = 'no'"
  static let countPending = "SELECT sum(event_count) FROM outbox_batches WHERE state = 'pending'"
  static let selectPendingBatches = """
    SELECT id, kind, first_sequence, last_sequence, event_count, byte_count, inserted, attempts, isolating,
      next_attempt_at,
      (SELECT committed_at FROM outbox_chunks
        WHERE key BETWEEN (?1 << 48) AND (?1 << 48) + first_sequence ORDER BY key DESC LIMIT 1)
    FROM outbox_batches WHERE data_source_id = ?1 AND state = 'pending' ORDER BY first_sequence
    """
  static let selectCommitTime = """
    SELECT committed_at FROM outbox_chunks WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1
    """

  static let selectBatchesBeingSent = """
    SELECT id FROM outbox_batches WHERE data_source_id = ?1 AND state = 'pending' AND sending_since IS NOT NULL
    """

  // MARK: Reading what is sent

  static let selectChunkAtOrBefore = """
    SELECT key, event_count, byte_count, encoding, crc32, outbox_id, committed_at, payload FROM outbox_chunks
    WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1
    """
  static let selectChunkKeyFrom = "SELECT key FROM outbox_chunks WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT 1"
  static let selectChunksFrom = """
    SELECT key, event_count, byte_count, encoding, crc32, outbox_id, committed_at, payload FROM outbox_chunks
    WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT ?3
    """
  static let selectReplaying = """
    SELECT key, payload, repaired_at, repaired_crc32 FROM outbox_dead_letters
    WHERE state = 'replaying' AND replay_batch_id = ?1 AND key > ?2 ORDER BY key
    """

  // MARK: Settling

  static let selectBatch = """
    SELECT data_source_id, kind, first_sequence, last_sequence, event_count, byte_count, inserted, attempts,
      uncertain_attempts, isolating, formed_at
    FROM outbox_batches WHERE id = ?1 AND state = 'pending'
    """
  static let settleBatch = """
    UPDATE outbox_batches SET state = ?2, inserted = ?3, attempts = ?4, uncertain_attempts = ?5, sending_since = NULL,
      next_attempt_at = NULL, successful_rows = ?6, quarantined_rows = ?7, warning = ?8, settled_at = ?9
    WHERE id = ?1
    """
  static let postponeBatch = """
    UPDATE outbox_batches SET inserted = ?2, attempts = ?3, uncertain_attempts = ?4, sending_since = NULL,
      next_attempt_at = ?5
    WHERE id = ?1
    """
  static let deleteBatch = "DELETE FROM outbox_batches WHERE id = ?1"
  static let openLane = """
    UPDATE outbox_data_sources SET lane_failures = 0, lane_retry_at = NULL,
      hold_kind = CASE hold_kind WHEN 'operator' THEN 'operator' END,
      hold_status = CASE hold_kind WHEN 'operator' THEN hold_status END,
      hold_batch_id = CASE hold_kind WHEN 'operator' THEN hold_batch_id END,
      held_at = CASE hold_kind WHEN 'operator' THEN held_at END
    WHERE id = ?1
    """
  static let backOffLane = "UPDATE outbox_data_sources SET lane_failures = ?2, lane_retry_at = ?3 WHERE id = ?1"
  static let holdLane = """
    UPDATE outbox_data_sources SET hold_kind = ?2, hold_status = ?3, hold_batch_id = ?4, held_at = ?5
    WHERE id = ?1 AND hold_kind IS NULL
    """
  static let recordAnswer = """
    UPDATE outbox_data_sources SET last_status = ?2, last_answer = ?3, last_answer_at = ?4 WHERE id = ?1
    """
  static let recordDelivered = """
    UPDATE outbox_data_sources SET last_delivered_at = ?2, successful_rows = successful_rows + ?3,
      quarantined_rows = quarantined_rows + ?4
    WHERE id = ?1
    """
  static let insertAttempt = """
    INSERT INTO outbox_attempts (batch_id, data_source_id, first_sequence, last_sequence, event_count, sent_bytes,
      started_at, latency_milliseconds, status, verdict, inserted, answer)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) RETURNING id
    """
  static let trimAttempts = "DELETE FROM outbox_attempts WHERE id <= ?1"

  // MARK: Replacing ranges

  static let selectRangesOverlapping = """
    SELECT id, first_sequence, last_sequence, byte_count, state, inserted, attempts, uncertain_attempts, isolating,
      formed_at, settled_at
    FROM outbox_batches
    WHERE kind = 'append' AND data_source_id = ?1 AND first_sequence <= ?3 AND last_sequence >= ?2
      AND first_sequence >= coalesce((SELECT max(first_sequence) FROM outbox_batches
        WHERE kind = 'append' AND data_source_id = ?1 AND first_sequence <= ?2), 0)
    ORDER BY first_sequence
    """
  static let insertRange = """
    INSERT INTO outbox_batches (data_source_id, kind, first_sequence, last_sequence, event_count, byte_count, state,
      inserted, attempts, uncertain_attempts, isolating, formed_at, settled_at)
    VALUES (?1, 'append', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    """

  // MARK: Pruning

  /// Its condition is that of the index `outbox_batches_prunable`, word by word.
  static let selectPrunable = """
    SELECT id, settled_at, data_source_id, kind, first_sequence, last_sequence, byte_count, state, uncertain_attempts
    FROM outbox_batches INDEXED BY outbox_batches_prunable
    WHERE \(isPrunable) AND (settled_at, id) > (?1, ?2)
    ORDER BY settled_at, id LIMIT 1
    """
  static let sumPrunable = """
    SELECT sum(byte_count) FROM outbox_batches INDEXED BY outbox_batches_prunable
    WHERE \(isPrunable) AND kind = 'append'
    """
  private static let isPrunable = """
    settled_at IS NOT NULL AND (kind <> 'append' OR state IN ('delivered', 'discarded'))
      AND (warning IS NULL OR acknowledged_at IS NOT NULL)
    """
  static let resendOverlapping = """
    SELECT id FROM outbox_batches
    WHERE state = 'pending' AND kind = 'resend' AND data_source_id = ?1 AND first_sequence <= ?3
      AND last_sequence >= ?2
    LIMIT 1
    """
  /// From the last chunk that begins at or before ?2 on.
  static let selectChunkHeadersOver = """
    SELECT key, event_count, byte_count FROM outbox_chunks
    WHERE key <= ?3 AND key >= coalesce((SELECT max(key) FROM outbox_chunks WHERE key BETWEEN ?1 AND ?2), ?2)
    ORDER BY key
    """
  /// Ranges do not overlap: the last that begins at or before ?3 is the only one to look at.
  static let rangeOverlapping = """
    SELECT id FROM (
      SELECT id, last_sequence FROM outbox_batches
      WHERE kind = 'append' AND data_source_id = ?1 AND first_sequence <= ?3 ORDER BY first_sequence DESC LIMIT 1)
    WHERE last_sequence >= ?2
    """
  static let cutBatch = """
    UPDATE outbox_batches SET first_sequence = ?2, event_count = event_count - ?3, byte_count = byte_count - ?4
    WHERE id = ?1
    """
  static let deleteChunk = "DELETE FROM outbox_chunks WHERE key = ?1"
  static let addPruned = """
    UPDATE outbox_data_sources SET pruned_delivered = pruned_delivered + ?2,
      pruned_discarded = pruned_discarded + ?3, pruned_uncertain = pruned_uncertain + ?4
    WHERE id = ?1
    """
  /// Gives up to `pages` free pages back.
  static func shrink(pages: Int64) -> String { "PRAGMA incremental_vacuum(\(pages))" }
  /// Not what was delivered once already: only the second sending would end.
  static let isolate = """
    UPDATE outbox_batches SET isolating = 2, next_attempt_at = NULL
    WHERE data_source_id = ?1 AND first_sequence <= ?3 AND last_sequence >= ?2 AND state = 'pending' AND kind <> 'resend'
    """
  /// A part of a refused batch was delivered: what is left of it knows now that not every event is refused.
  static let noteRefusedInPart = """
    UPDATE outbox_batches SET isolating = ?3 WHERE data_source_id = ?1 AND state = 'pending' AND isolating = ?2
    """
  static let acknowledgeWarnings = """
    UPDATE outbox_batches SET acknowledged_at = ?4
    WHERE data_source_id = ?1 AND first_sequence <= ?3 AND last_sequence >= ?2 AND warning IS NOT NULL
      AND acknowledged_at IS NULL
    """

  // MARK: Dead letters

  static let insertDeadLetter = """
    INSERT INTO outbox_dead_letters (key, payload, committed_at, state, reason, status, answer, attempts, inserted,
      dead_at)
    VALUES (?1, ?2, ?3, 'dead', ?4, ?5, ?6, ?7, ?8, ?9)
    """
  static let selectReplayingKeys = """
    SELECT key, length(CAST(payload AS BLOB)) + 1 FROM outbox_dead_letters
    WHERE state = 'replaying' AND replay_batch_id = ?1 ORDER BY key
    """
  static let deleteReplayed = "DELETE FROM outbox_dead_letters WHERE state = 'replaying' AND replay_batch_id = ?1"
  static let returnReplaying = """
    UPDATE outbox_dead_letters SET state = 'dead', replay_batch_id = NULL, reason = ?2, status = ?3, answer = ?4,
      attempts = attempts + ?5, inserted = ?6, dead_at = ?7
    WHERE state = 'replaying' AND replay_batch_id = ?1
    """
  static let returnDamaged = """
    UPDATE outbox_dead_letters SET state = 'dead', replay_batch_id = NULL
    WHERE state = 'replaying' AND replay_batch_id = ?1 AND key BETWEEN ?2 AND ?3
    """
  static let deleteEmptyReplay = """
    DELETE FROM outbox_batches WHERE id = ?1
      AND NOT EXISTS (SELECT 1 FROM outbox_dead_letters WHERE state = 'replaying' AND replay_batch_id = ?1)
    """
  static let recountReplay = """
    UPDATE outbox_batches SET (event_count, byte_count) = (
      SELECT count(*), sum(length(CAST(payload AS BLOB)) + 1) FROM outbox_dead_letters
      WHERE state = 'replaying' AND replay_batch_id = ?1)
    WHERE id = ?1
    """
  static let moveReplaying = """
    UPDATE outbox_dead_letters SET replay_batch_id = ?3
    WHERE state = 'replaying' AND replay_batch_id = ?1 AND key > ?2
    """
  static let startReplaying = """
    UPDATE outbox_dead_letters SET state = 'replaying', replay_batch_id = ?2 WHERE key = ?1 AND state = 'dead'
    """
  static let deleteDeadLetter = "DELETE FROM outbox_dead_letters WHERE key = ?1 AND state = 'dead'"
  static let repairDeadLetter = """
    UPDATE outbox_dead_letters SET payload = ?2, repaired_at = ?3, repaired_crc32 = ?4 WHERE key = ?1 AND state = 'dead'
    """

  // MARK: Erasing

  static let isSendingBetween = """
    SELECT 1 FROM outbox_batches
    WHERE data_source_id = ?1 AND state = 'pending' AND sending_since IS NOT NULL
      AND first_sequence <= ?3 AND last_sequence >= ?2
    LIMIT 1
    """
  static let selectNextUnbatched = "SELECT next_unbatched FROM outbox_data_sources WHERE id = ?1"
  static let rewriteChunk = "UPDATE outbox_chunks SET byte_count = ?2, crc32 = ?3, payload = ?4 WHERE key = ?1"
  static let selectLettersBetween = """
    SELECT key, payload FROM outbox_dead_letters WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT ?3
    """
  static let redactAttempts = """
    UPDATE outbox_attempts SET answer = '[erased]' WHERE data_source_id = ?1 AND status IS NOT NULL AND answer IS NOT NULL
    """
  static let redactLetters = """
    UPDATE outbox_dead_letters SET answer = '[erased]' WHERE key BETWEEN ?1 AND ?2 AND answer IS NOT NULL
    """
  static let redactLastAnswer = """
    UPDATE outbox_data_sources SET last_answer = '[erased]' WHERE id = ?1 AND last_status IS NOT NULL
    """
  static let selectReplaysBetween = """
    SELECT DISTINCT replay_batch_id FROM outbox_dead_letters WHERE key BETWEEN ?1 AND ?2 AND state = 'replaying'
    """
  static let deleteLettersBetween = "DELETE FROM outbox_dead_letters WHERE key BETWEEN ?1 AND ?2"
  static let selectResendsBetween = """
    SELECT id FROM outbox_batches
    WHERE data_source_id = ?1 AND state = 'pending' AND kind = 'resend' AND first_sequence <= ?3
      AND last_sequence >= ?2
    """

  // MARK: Commands of an operator

  static let holdByOperator = """
    UPDATE outbox_data_sources
    SET hold_kind = 'operator', hold_status = NULL, hold_batch_id = NULL, held_at = ?2,
      command_count = command_count + 1
    WHERE id = ?1
    """
  static let resumeLane = """
    UPDATE outbox_data_sources
    SET hold_kind = NULL, hold_status = NULL, hold_batch_id = NULL, held_at = NULL, lane_failures = 0,
      lane_retry_at = NULL, command_count = command_count + 1
    WHERE id = ?1
    """
  static let deliverLaneNow = """
    UPDATE outbox_data_sources SET lane_retry_at = NULL, command_count = command_count + 1 WHERE id = ?1
    """
  static let deliverBatchesNow = """
    UPDATE outbox_batches SET next_attempt_at = NULL WHERE data_source_id = ?1 AND state = 'pending'
    """
  static let bumpCommandCount = "UPDATE outbox_data_sources SET command_count = command_count + 1 WHERE id = ?1"

  // MARK: Inspecting

  static let dataVersion = "PRAGMA data_version"
  static let selectLanes = "\(laneColumns) ORDER BY id"
  static let selectLane = "\(laneColumns) WHERE id = ?1"
  static let selectLaneByName = "\(laneColumns) WHERE name = ?1"
  private static let laneColumns = """
    SELECT id, name, next_sequence, next_unbatched, lane_failures, lane_retry_at, hold_kind, hold_status,
      hold_batch_id, held_at, command_count
    FROM outbox_data_sources
    """
  static let selectNumber = "SELECT id FROM outbox_data_sources WHERE name = ?1"
  static let selectChunkIDs = """
    SELECT outbox_id FROM outbox_chunks
    WHERE key IN ((SELECT min(key) FROM outbox_chunks), (SELECT max(key) FROM outbox_chunks))
    """
  static let selectDataSources = """
    SELECT id, name, next_sequence, next_unbatched, appended_bytes - batched_bytes, lane_failures, lane_retry_at,
      hold_kind, hold_status, hold_batch_id, held_at, last_status, last_answer, last_answer_at, last_delivered_at,
      successful_rows, quarantined_rows, pruned_delivered, pruned_discarded, pruned_damaged, pruned_uncertain
    FROM outbox_data_sources ORDER BY name
    """
  static let sumRangesByState = """
    SELECT data_source_id, state, sum(event_count), sum(byte_count),
      sum(sending_since IS NOT NULL), sum(CASE WHEN uncertain_attempts > 0 THEN event_count ELSE 0 END),
      sum(warning IS NOT NULL AND acknowledged_at IS NULL)
    FROM outbox_batches WHERE kind = 'append' GROUP BY data_source_id, state
    """
  static let countReplaying = """
    SELECT key >> 48, count(*) FROM outbox_dead_letters WHERE state = 'replaying' GROUP BY 1
    """
  static let selectBatchRange = "SELECT first_sequence, last_sequence FROM outbox_batches WHERE id = ?1"
  static let firstPendingRange = """
    SELECT first_sequence FROM outbox_batches
    WHERE data_source_id = ?1 AND state = 'pending' AND kind = 'append' ORDER BY first_sequence LIMIT 1
    """
  static let commitTimeAtOrBefore = """
    SELECT committed_at FROM outbox_chunks WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1
    """
  static let selectRangesFrom = """
    SELECT first_sequence, last_sequence, state, inserted, attempts, uncertain_attempts, settled_at, next_attempt_at,
      warning
    FROM outbox_batches
    WHERE kind = 'append' AND data_source_id = ?1 AND last_sequence >= ?2
      AND first_sequence >= coalesce((SELECT max(first_sequence) FROM outbox_batches
        WHERE kind = 'append' AND data_source_id = ?1 AND first_sequence <= ?2), 0)
    ORDER BY first_sequence LIMIT ?3
    """
  static let selectPossibleDuplicates = """
    SELECT s.name, b.first_sequence, b.last_sequence
    FROM outbox_batches b JOIN outbox_data_sources s ON s.id = b.data_source_id
    WHERE b.kind = 'append' AND b.state = 'delivered' AND b.uncertain_attempts > 0
      AND (s.name, b.first_sequence) > (?1, ?2)
    ORDER BY s.name, b.first_sequence LIMIT ?3
    """
  static let selectRangePage = """
    SELECT first_sequence, last_sequence, state FROM outbox_batches
    WHERE kind = 'append' AND data_source_id = ?1 AND first_sequence > ?2 ORDER BY first_sequence LIMIT 1000
    """
  static let selectPruned = """
    SELECT pruned_delivered, pruned_discarded, pruned_damaged FROM outbox_data_sources WHERE id = ?1
    """
  /// How many events of ?2...?3 the ledger names; with ?4 = 0 those aside that it names as damaged.
  static let countNamedBetween = """
    SELECT sum(min(last_sequence, ?3) - max(first_sequence, ?2) + 1) FROM outbox_batches
    WHERE kind = 'append' AND data_source_id = ?1 AND first_sequence <= ?3 AND last_sequence >= ?2
      AND first_sequence >= coalesce((SELECT max(first_sequence) FROM outbox_batches
        WHERE kind = 'append' AND data_source_id = ?1 AND first_sequence <= ?2), 0)
      AND (?4 = 1 OR state <> 'damaged')
    """
  static let countDeadBetween = "SELECT count(*) FROM outbox_dead_letters WHERE key BETWEEN ?1 AND ?2"
  static let selectDeadLetters = """
    SELECT d.key, s.name, d.payload, d.committed_at, d.state, d.reason, d.status, d.answer, d.attempts, d.inserted,
      d.dead_at, d.repaired_at
    FROM outbox_dead_letters d JOIN outbox_data_sources s ON s.id = d.key >> 48
    WHERE d.key > ?1 AND \(deadLetterFilter)
    ORDER BY d.key LIMIT ?11
    """
  static let selectDeadKeys = """
    SELECT d.key, length(CAST(d.payload AS BLOB)) + 1, d.inserted
    FROM outbox_dead_letters d JOIN outbox_data_sources s ON s.id = d.key >> 48
    WHERE d.key > ?1 AND \(deadLetterFilter) AND d.state = 'dead'
    ORDER BY d.key LIMIT ?11
    """
  static let countDeadLetters = """
    SELECT count(*), sum(d.inserted <> 'no')
    FROM outbox_dead_letters d JOIN outbox_data_sources s ON s.id = d.key >> 48
    WHERE d.key > ?1 AND \(deadLetterFilter)
    """
  private static let deadLetterFilter = """
    (?2 IS NULL OR s.name = ?2) AND (?3 IS NULL OR (d.key & 281474976710655) >= ?3)
      AND (?4 IS NULL OR (d.key & 281474976710655) <= ?4) AND (?5 IS NULL OR d.status = ?5)
      AND (?6 IS NULL OR d.reason = ?6) AND (?7 IS NULL OR d.inserted = ?7) AND (?8 IS NULL OR d.dead_at >= ?8)
      AND (?9 IS NULL OR d.dead_at < ?9) AND (?10 IS NULL OR d.state = ?10)
    """
  static let selectAttempts = """
    SELECT batch_id, first_sequence, last_sequence, event_count, sent_bytes, started_at, latency_milliseconds, status,
      verdict, inserted, answer
    FROM outbox_attempts WHERE data_source_id = ?1 AND first_sequence <= ?3 AND last_sequence >= ?2
    ORDER BY id DESC LIMIT ?4
    """
  static let quickCheck = "PRAGMA quick_check(100)"

  // MARK: Salvaging: what is read of a damaged file, by key alone and never through an index

  static let readDamagedSchema = "PRAGMA writable_schema = ON"
  static let selectTreesOfSchema = """
    SELECT s.type, s.name, s.tbl_name, s.rootpage, s.sql, s.type = 'table' AND NOT t.wr
    FROM sqlite_schema s JOIN pragma_table_list t ON t.schema = 'main' AND t.name = s.tbl_name
    WHERE s.rootpage > 0 ORDER BY s.rowid
    """
  static let insertSchemaObject = """
    INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES (?1, ?2, ?3, ?4, ?5)
    """
  static let countEventTables = """
    SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('outbox_chunks', 'outbox_batches')
    """
  static let hasColumnsOfVersion2 = """
    SELECT 1 FROM pragma_table_info('outbox_data_sources') WHERE name = 'pruned_uncertain'
    """
  static let selectChunkIDOf = "SELECT outbox_id FROM outbox_chunks WHERE key = ?1"
  static let selectLastChunkKey = "SELECT key FROM outbox_chunks WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1"
  static let selectDataSourceIDFrom = """
    SELECT id FROM outbox_data_sources NOT INDEXED WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1
    """
  static func selectWholeDataSource(isVersion2: Bool) -> String {
    """
    SELECT name, next_sequence, next_unbatched, appended_bytes, batched_bytes, lane_failures, lane_retry_at, hold_kind,
      hold_status, hold_batch_id, held_at, command_count, last_status, last_answer, last_answer_at, last_delivered_at,
      successful_rows, quarantined_rows, pruned_delivered, pruned_discarded, pruned_damaged,
      \(isVersion2 ? "pruned_uncertain" : "0")
    FROM outbox_data_sources NOT INDEXED WHERE id = ?1
    """
  }
  static let selectBatchIDFrom = """
    SELECT id FROM outbox_batches NOT INDEXED WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1
    """
  static let selectLastBatchID = """
    SELECT id FROM outbox_batches NOT INDEXED WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1
    """
  static let selectWholeBatch = """
    SELECT data_source_id, kind, first_sequence, last_sequence, event_count, byte_count, state, inserted, attempts,
      uncertain_attempts, isolating, sending_since, next_attempt_at, successful_rows, quarantined_rows, warning,
      acknowledged_at, formed_at, settled_at
    FROM outbox_batches NOT INDEXED WHERE id = ?1
    """
  static let selectLetterKeyFrom = """
    SELECT key FROM outbox_dead_letters NOT INDEXED WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT 1
    """
  static let selectLastLetterKey = """
    SELECT key FROM outbox_dead_letters NOT INDEXED WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1
    """
  static func selectWholeLetter(isVersion2: Bool) -> String {
    """
    SELECT payload, committed_at, state, reason, status, answer, attempts, inserted, dead_at, repaired_at,
      \(isVersion2 ? "repaired_crc32" : "NULL")
    FROM outbox_dead_letters NOT INDEXED WHERE key = ?1
    """
  }

  // MARK: Salvaging: what is written to the new one

  static let insertWholeDataSource = """
    INSERT INTO outbox_data_sources (id, name, next_sequence, next_unbatched, appended_bytes, batched_bytes,
      lane_failures, lane_retry_at, hold_kind, hold_status, hold_batch_id, held_at, command_count, last_status,
      last_answer, last_answer_at, last_delivered_at, successful_rows, quarantined_rows, pruned_delivered,
      pruned_discarded, pruned_damaged, pruned_uncertain)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)
    """
  static let insertWholeBatch = """
    INSERT INTO outbox_batches (id, data_source_id, kind, first_sequence, last_sequence, event_count, byte_count, state,
      inserted, attempts, uncertain_attempts, isolating, next_attempt_at, successful_rows, quarantined_rows, warning,
      acknowledged_at, formed_at, settled_at)
    VALUES (?1, ?2, 'append', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
    """
  static let selectChunkHeaderFrom = """
    SELECT key, event_count FROM outbox_chunks WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT 1
    """
  static let setNextNumbers = """
    UPDATE outbox_data_sources SET next_sequence = ?2, next_unbatched = ?3 WHERE id = ?1
    """
  static let setPruned = """
    UPDATE outbox_data_sources SET pruned_delivered = ?2, pruned_discarded = ?3, pruned_damaged = ?4,
      pruned_uncertain = min(pruned_uncertain, ?2)
    WHERE id = ?1
    """
  static let setUnbatchedBytes = """
    UPDATE outbox_data_sources SET appended_bytes = batched_bytes
      + coalesce((SELECT sum(byte_count) FROM outbox_chunks WHERE key BETWEEN ?2 AND ?3), 0)
    WHERE id = ?1
    """
}

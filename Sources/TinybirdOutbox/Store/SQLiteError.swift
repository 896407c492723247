internal import COutboxSQLite

#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// What SQLite answered where it did not answer OK.
struct SQLiteError: Error, CustomStringConvertible {
  /// The extended result code.
  let code: Int32
  /// SQLite's own words.
  ///
  /// They name tables and columns, never values.
  let message: String
  /// What was being done.
  let doing: String
  /// The `errno` behind an I/O error, where SQLite kept it.
  var systemCode: Int32 = 0

  var primaryCode: Int32 { code & 0xFF }

  /// What a connection does when it cannot make sense of a statement.
  static let preparing = "preparing a statement"

  var description: String { "\(doing): \(message) (SQLite code \(code))" }

  /// The disk, or this user's quota, has no block left.
  ///
  /// With no free block at all SQLite cannot even extend its shared memory file, and says so instead of FULL; with no
  /// free inode it cannot make one.
  var isDiskFull: Bool {
    primaryCode == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE_CODE
      || ([SQLITE_IOERR, SQLITE_CANTOPEN].contains(primaryCode) && (systemCode == ENOSPC || systemCode == EDQUOT))
  }

  /// Turns the code into the error that a caller of the facade sees.
  var asOutboxError: OutboxError {
    switch primaryCode {
    case _ where isDiskFull:
      OutboxError(
        .diskFull, "the disk is full: \(self). Nothing old was deleted; free some space and it works again", cause: self
      )
    case SQLITE_IOERR:
      OutboxError(
        .inputOutput,
        "the disk reported a fault: \(self). What was being written is not acknowledged; look at the system log",
        cause: self)
    case SQLITE_BUSY, SQLITE_LOCKED:
      OutboxError(
        .busy, "another process kept the outbox locked: \(self). Look for a long transaction in it", cause: self)
    // Our statements are fixed: where one contradicts the schema, or what is stored, the file is not as we made it.
    case SQLITE_CORRUPT, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_TOOBIG:
      OutboxError(.damaged, "the outbox file is damaged: \(self)\(OutboxError.seeDoctor)", cause: self)
    case SQLITE_ERROR where doing == Self.preparing:
      OutboxError(.damaged, "the outbox file is damaged: \(self)\(OutboxError.seeDoctor)", cause: self)
    case SQLITE_NOTADB:
      OutboxError(.notADatabase, "the file is not an SQLite database: \(self). Check the path", cause: self)
    case SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_AUTH:
      OutboxError(
        .notWritable, "the outbox cannot be written: \(self). Check the owner and mode of the file and its directory",
        cause: self)
    default:
      OutboxError(.database, "\(self)", cause: self)
    }
  }
}

/// `SQLITE_IOERR | (19 << 8)`: a macro that Swift does not import.
private let SQLITE_IOERR_SHMSIZE_CODE: Int32 = SQLITE_IOERR | (19 << 8)

/// Runs `body` and turns SQLite's errors into the facade's.
func withOutboxErrors<Value>(_ body: () throws -> Value) throws(OutboxError) -> Value {
  do {
    return try body()
  } catch let error as OutboxError {
    throw error
  } catch let error as SQLiteError {
    throw error.asOutboxError
  } catch {
    throw OutboxError(.database, "unexpected: \(type(of: error))", cause: error)
  }
}

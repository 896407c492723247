/// Why bytes are not a whole gzip file, and where.
///
/// It never quotes them.
package enum GzipError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The first byte, or the second, is not that of a gzip file.
  case notGzip
  /// What is compressed, its checksum or its length is damaged, or a header is one that zlib does not know.
  case corrupt(offset: Int)
  /// The bytes end within a member, or there are none.
  case truncated
  /// Behind a whole member there is something that is not another one.
  case trailingGarbage(offset: Int)
  /// The content is larger than the caller allows.
  case tooLarge(limit: Int)
  /// zlib found no memory for its state, 256 KiB to compress and 48 KiB to decompress.
  case outOfMemory

  package var description: String {
    switch self {
    case .notGzip: "not a gzip file"
    case .corrupt(let offset): "the gzip data is damaged at byte \(offset) or just before it"
    case .truncated: "the gzip data ends too early"
    case .trailingGarbage(let offset): "at byte \(offset), behind the gzip data, there is something else"
    case .tooLarge(let limit): "the gzip data holds more than \(limit) bytes"
    case .outOfMemory: "there is no memory for zlib"
    }
  }
}

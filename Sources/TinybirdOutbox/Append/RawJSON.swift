public import Foundation

/// Text that is JSON already: it is checked and stored as it is, not encoded again.
///
/// `String`, `Substring`, `Data`, `[UInt8]` and `ArraySlice<UInt8>` are. Where a type is `Encodable` too, the call for raw
/// JSON is preferred to the one for values.
public protocol RawJSON: Sendable {
  /// Hands the bytes to `body`; they are valid for as long as it runs.
  func withJSONBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value
}

extension String: RawJSON {
  /// Hands the bytes over, without a copy where the value is contiguous.
  public func withJSONBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
    var copy = self
    return try copy.withUTF8 { try body(UnsafeRawBufferPointer($0)) }
  }
}

extension Substring: RawJSON {
  /// Hands the bytes over, without a copy where the value is contiguous.
  public func withJSONBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
    var copy = self
    return try copy.withUTF8 { try body(UnsafeRawBufferPointer($0)) }
  }
}

extension Data: RawJSON {
  /// Hands the bytes over, without a copy where the value is contiguous.
  public func withJSONBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
    try withUnsafeBytes(body)
  }
}

extension Array: RawJSON where Element == UInt8 {
  /// Hands the bytes over, without a copy where the value is contiguous.
  public func withJSONBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
    try withUnsafeBytes(body)
  }
}

extension ArraySlice: RawJSON where Element == UInt8 {
  /// Hands the bytes over, without a copy where the value is contiguous.
  public func withJSONBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
    try withUnsafeBytes(body)
  }
}

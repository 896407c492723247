// Built by Scripts/fuzz with libFuzzer, together with the files of the library that it names.

/// Any bytes at the door: it agrees with the reference parser, and what it lets in can be stored, searched and erased.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDoor(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = UnsafeRawBufferPointer(start: start, count: count)
  // Small, so that the limit is met; far below what the reference parser's recursion can take.
  let validator = JSONValidator(maximumDepth: 40, memberName: "id")
  let object = try? validator.validate(input)
  let reference = ReferenceJSON.object(Array(input), memberName: "id", maximumDepth: 40)
  precondition(object == reference, "door and reference differ")
  let match = try? MemberMatch("a.id=1")
  let isFound = match?.matches(input) ?? false
  guard let object else { return 0 }
  var stored: [UInt8] = []
  object.append(input, to: &stored)
  precondition(stored.count == input.count && !stored.contains(0x0A) && !stored.contains(0x0D), "it is not one line")
  precondition(isAccepted(stored, validator), "what is stored is not accepted")
  precondition(stored.withUnsafeBytes { match?.matches($0) ?? false } == isFound, "it is not found where it is stored")
  if !object.hasMember {
    let member = EventIDMember(name: "id")
    var generator = SystemRandomNumberGenerator()
    let id = EventID(at: WallTime(milliseconds: 1), using: &generator)
    var withID: [UInt8] = []
    member.append(input, object, id: id, to: &withID)
    precondition(withID.count == input.count + member.addedByteCount(to: object), "its length is not as announced")
    let found = withID.withUnsafeBytes { try? validator.validate($0) }
    precondition(found?.hasMember == true, "the id is not in it")
  }
  return 0
}

private func isAccepted(_ bytes: [UInt8], _ validator: JSONValidator) -> Bool {
  bytes.withUnsafeBytes { (try? validator.validate($0)) != nil }
}

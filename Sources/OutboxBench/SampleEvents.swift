/// Events to measure with: booking records of about 370 bytes, different in every member, the same in every run.
enum SampleEvents {
  static func bookings(count: Int) -> [String] {
    (0..<count).map { number in
      let id = String(UInt64(number) &* 0x9E37_79B9_7F4A_7C15, radix: 16)
      return """
        {"timestamp":"2026-11-21T04:\(pad(number / 60 % 60)):\(pad(number % 60)).\(100 + number % 900)Z",\
        "booking_id":"\(id)","status":"\(["created", "confirmed", "cancelled"][number % 3])",\
        "customer":{"id":\(100_000 + number),"country":"\(["ES", "DE", "FR", "US"][number % 4])","tier":"gold"},\
        "hotel_id":\(number % 977),"room":"double","nights":\(1 + number % 14),"price":\(number % 500).\(10 + number % 90),\
        "currency":"EUR","channel":"mobile-app","campaign":"autumn-\(number % 37)",\
        "user_agent":"BookingApp/7.\(number % 20) (iPhone; iOS 19.1)","experiment":["a\(number % 5)","b\(number % 3)"]}
        """
    }
  }

  private static func pad(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

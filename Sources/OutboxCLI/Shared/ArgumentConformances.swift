public import ArgumentParser
public import Logging
public import TinybirdOutbox

// Values of the library that can stand on the command line, by their raw values.

extension DeadReason: ExpressibleByArgument {}
extension DeliveryConfiguration.Order: ExpressibleByArgument {}
extension Inserted: ExpressibleByArgument {}
extension RangeState: ExpressibleByArgument {}
extension Logger.Level: @retroactive ExpressibleByArgument {}

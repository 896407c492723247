internal import Crypto
internal import Foundation
internal import NIOCore
internal import NIOSSL
internal import SwiftASN1
internal import X509

/// A key and a certificate, made when the emulator is.
struct SelfSignedCertificate {
  /// How long it is valid: long enough for any test, short enough for clients that refuse more than 825 days.
  private static let validity: TimeInterval = 365 * 24 * 3600

  private static var loopback: [GeneralName] {
    [
      .dnsName("localhost"),
      .ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1])),
      .ipAddress(ASN1OctetString(contentBytes: ArraySlice(repeatElement(0, count: 15) + [1]))),
    ]
  }

  /// The certificate, for a client to trust.
  let pem: String
  private let keyPEM: String

  /// For `localhost`, `127.0.0.1` and `::1`, or for another host alone.
  init(now: Date, host: String? = nil) throws {
    let key = P256.Signing.PrivateKey()
    let name = try DistinguishedName {
      CommonName("Events API emulator")
    }
    let publicKey = Certificate.PublicKey(key.publicKey)
    let certificate = try Certificate(
      version: .v3,
      serialNumber: Certificate.SerialNumber(),
      publicKey: publicKey,
      // An hour back, for clocks that differ.
      notValidBefore: now - 3600,
      notValidAfter: now + Self.validity,
      issuer: name,
      subject: name,
      extensions: Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
        Critical(KeyUsage(digitalSignature: true, keyCertSign: true))
        try ExtendedKeyUsage([.serverAuth])
        SubjectAlternativeNames(host.map { [.dnsName($0)] } ?? Self.loopback)
      },
      issuerPrivateKey: Certificate.PrivateKey(key))
    pem = try certificate.serializeAsPEM().pemString
    keyPEM = key.pemRepresentation
  }

  /// The server's side of TLS with this certificate.
  func tlsConfiguration() throws -> TLSConfiguration {
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: [.certificate(try NIOSSLCertificate(bytes: Array(pem.utf8), format: .pem))],
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(keyPEM.utf8), format: .pem)))
    // A connection that a fault closes must not wait five seconds, the default, for the client to agree.
    configuration.shutdownTimeout = .milliseconds(50)
    return configuration
  }
}

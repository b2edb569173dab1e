// What tells one certificate of a node from another, and when it is good.

internal import COpenSSL

package struct CertificateFacts: Sendable, Equatable {
    /// Lower-case hexadecimal digits.
    package let serial: String
    /// Seconds since 1970. A certificate without a valid time begins at the earliest, and has ended.
    package let notBefore: Int64
    package let notAfter: Int64

    package init(serial: String, notBefore: Int64, notAfter: Int64) {
        self.serial = serial
        self.notBefore = notBefore
        self.notAfter = notAfter
    }

    /// - Parameter certificate: borrowed for this call.
    init(borrowing certificate: OpaquePointer) {
        serial = unsafe Certificate.serial(borrowing: certificate)
        notBefore = unsafe Certificate.seconds(X509_get0_notBefore(certificate)) ?? .min
        notAfter = unsafe Certificate.seconds(X509_get0_notAfter(certificate)) ?? .min
    }
}

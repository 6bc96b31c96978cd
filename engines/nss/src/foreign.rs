//! NSS's errors for what others say: TLS alerts, and the verify codes of OpenSSL.

use crate::ErrorCode;

impl ErrorCode {
    /// The error that NSS raises when a peer sends this alert (sslerr.h, measured on 3.87.1). An alert 40 before the
    /// ServerHello is SSL_ERROR_NO_CYPHER_OVERLAP instead, and a close_notify no error of its own.
    pub const fn of_alert(alert: u8) -> Option<Self> {
        Some(match alert {
            10 => Self::SSL_ERROR_HANDSHAKE_UNEXPECTED_ALERT,
            20 => Self::SSL_ERROR_BAD_MAC_ALERT,
            21 => Self::SSL_ERROR_DECRYPTION_FAILED_ALERT,
            22 => Self::SSL_ERROR_RECORD_OVERFLOW_ALERT,
            30 => Self::SSL_ERROR_DECOMPRESSION_FAILURE_ALERT,
            40 => Self::SSL_ERROR_HANDSHAKE_FAILURE_ALERT,
            42 => Self::SSL_ERROR_BAD_CERT_ALERT,
            43 => Self::SSL_ERROR_UNSUPPORTED_CERT_ALERT,
            44 => Self::SSL_ERROR_REVOKED_CERT_ALERT,
            45 => Self::SSL_ERROR_EXPIRED_CERT_ALERT,
            46 => Self::SSL_ERROR_CERTIFICATE_UNKNOWN_ALERT,
            47 => Self::SSL_ERROR_ILLEGAL_PARAMETER_ALERT,
            48 => Self::SSL_ERROR_UNKNOWN_CA_ALERT,
            49 => Self::SSL_ERROR_ACCESS_DENIED_ALERT,
            50 => Self::SSL_ERROR_DECODE_ERROR_ALERT,
            51 => Self::SSL_ERROR_DECRYPT_ERROR_ALERT,
            60 => Self::SSL_ERROR_EXPORT_RESTRICTION_ALERT,
            70 => Self::SSL_ERROR_PROTOCOL_VERSION_ALERT,
            71 => Self::SSL_ERROR_INSUFFICIENT_SECURITY_ALERT,
            80 => Self::SSL_ERROR_INTERNAL_ERROR_ALERT,
            86 => Self::SSL_ERROR_INAPPROPRIATE_FALLBACK_ALERT,
            90 => Self::SSL_ERROR_USER_CANCELED_ALERT,
            100 => Self::SSL_ERROR_NO_RENEGOTIATION_ALERT,
            109 => Self::SSL_ERROR_MISSING_EXTENSION_ALERT,
            110 => Self::SSL_ERROR_UNSUPPORTED_EXTENSION_ALERT,
            111 => Self::SSL_ERROR_CERTIFICATE_UNOBTAINABLE_ALERT,
            112 => Self::SSL_ERROR_UNRECOGNIZED_NAME_ALERT,
            113 => Self::SSL_ERROR_BAD_CERT_STATUS_RESPONSE_ALERT,
            114 => Self::SSL_ERROR_BAD_CERT_HASH_VALUE_ALERT,
            116 => Self::SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT,
            _ => return None,
        })
    }

    /// The error that NSS has for what OpenSSL's verify code (x509_vfy.h) finds in a chain; NSS has one for expired and not
    /// yet valid.
    pub const fn of_verify_code(code: i32) -> Option<Self> {
        Some(match code {
            2 | 18..=21 => Self::SEC_ERROR_UNKNOWN_ISSUER,
            7 => Self::SEC_ERROR_BAD_SIGNATURE,
            9 | 10 => Self::SEC_ERROR_EXPIRED_CERTIFICATE,
            24 => Self::SEC_ERROR_CA_CERT_INVALID,
            25 => Self::SEC_ERROR_PATH_LEN_CONSTRAINT_INVALID,
            26 => Self::SEC_ERROR_INADEQUATE_CERT_TYPE,
            47 | 48 => Self::SEC_ERROR_CERT_NOT_IN_NAME_SPACE,
            62 | 64 => Self::SSL_ERROR_BAD_CERT_DOMAIN,
            66..=68 => Self::SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED,
            _ => return None,
        })
    }
}

"""Why TLS fails, in the words of the command line."""

from __future__ import annotations

import ssl

NO_CERTIFICATE = "TLS needs a certificate, and this program has none"

ENDED = "the other side ended the connection within the handshake of TLS: it may not speak TLS"

CUT = "the connection ended, and the other side did not say so"


def words(error: ssl.SSLError, host: str = "") -> str:
    """Says what is wrong on a connection that was dialed as `host`, or accepted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error, host)
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return CUT
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return "the other side does not speak TLS"
    if reason in _OTHER_VERSION:
        return "the other side does not speak TLS 1.3"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "the other side shows no certificate"
    if why := _REFUSALS.get(reason):
        return f"the other side does not accept this side's certificate: {why}"
    return f"TLS fails: {reason.lower().replace('_', ' ') or error}"


def may_pass(error: ssl.SSLError) -> bool:
    """Tells whether it may pass by itself. What is wrong with a certificate needs a remedy."""
    said = words(error)
    return said == CUT or said.startswith("TLS fails")


def _of_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    match error.verify_code:
        case 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            return "the certificate of the other side has expired"
        case 9:  # X509_V_ERR_CERT_NOT_YET_VALID
            return "the certificate of the other side is not valid yet: check the clocks"
        case 62 | 64:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            return f"the certificate of the other side is not for `{host}`"
        case 26 | 24 | 79:  # of a purpose, or an authority that is none
            return "the certificate of the other side is not one for TLS servers and clients"
        case 2 | 7 | 18 | 19 | 20 | 21 | 30:  # an issuer that is missing, or not trusted
            return "no authority that is trusted here signed the certificate of the other side"
    return f"TLS fails: {error.verify_message}"


_NOT_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "UNKNOWN_PROTOCOL",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
    }
)

_OTHER_VERSION = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "NO_PROTOCOLS_AVAILABLE",
        "WRONG_SSL_VERSION",
    }
)

_UNSAID = "it does not say more"

#: What each alert of the other side says of this side's certificate.
_REFUSALS = {
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "TLSV1_ALERT_UNKNOWN_CA": "no authority that is trusted there signed it",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "there is none",
    "SSLV3_ALERT_BAD_CERTIFICATE": f"{_UNSAID}, as where the certificate is not for the host "
    "that it dialed",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _UNSAID,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _UNSAID,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _UNSAID,
    "TLSV1_ALERT_ACCESS_DENIED": _UNSAID,
    "TLSV1_ALERT_DECRYPT_ERROR": "its signature does not hold there: another authority of the same "
    "name signed it",
}

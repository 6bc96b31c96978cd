"""One handshake through python-nss, told in lines of JSON. "Connected" and "handshake done" are two things: connect() of an
SSLSocket returns after TCP alone, so the handshake is forced, and one read shows what the peer has to say afterwards.

The task comes on standard input, its length in four bytes before it; the password's bytes follow.
"""

import json
import os
import struct
import sys
import time

import nss.error as nss_error
import nss.io as io
import nss.nss as nss
import nss.ssl as ssl

STDIN = sys.stdin.buffer


def say(**line):
    os.write(1, json.dumps(line).encode() + b"\n")


def left(until):
    """Milliseconds, at least one."""
    return max(1, int((until - time.monotonic()) * 1000))


def main():
    (length,) = struct.unpack(">I", STDIN.read(4))
    task = json.loads(STDIN.read(length))
    password = STDIN.read().decode(errors="surrogateescape")
    say(version=nss.nss_get_version())
    nss.set_password_callback(lambda slot, retry, *_: None if retry else password)
    nss.nss_init(task["database"])
    identity = None
    if task["nickname"]:
        token, colon, _ = task["nickname"].partition(":")
        slot = nss.find_slot_by_name(token) if colon else nss.get_internal_key_slot()
        if slot.need_login():
            slot.authenticate()
        certificate = nss.find_cert_from_nickname(task["nickname"])
        identity = certificate, nss.find_key_by_any_cert(certificate)
    say(ready=True)
    address = next(iter(io.AddrInfo(task["host"])))
    for candidate in io.AddrInfo(task["host"]):
        if candidate.family == io.PR_AF_INET:
            address = candidate
    address.port = task["port"]
    session = ssl.SSLSocket(address.family)
    session.set_ssl_option(ssl.SSL_SECURITY, True)
    session.set_ssl_option(ssl.SSL_HANDSHAKE_AS_CLIENT, True)
    session.set_ssl_version_range(task["tls"][0], task["tls"][1])
    session.set_hostname(task["host"])
    if identity:
        session.set_client_auth_data_callback(lambda *_: identity)
    session.connect(address, io.seconds_to_interval(task["timeout"]))
    say(connected=True)
    session.force_handshake_timeout(io.seconds_to_interval(task["timeout"]))
    info = session.get_ssl_channel_info()
    say(handshake=True, agreed=f"{info.protocol_version_str}, {ssl.ssl_cipher_suite_name(info.cipher_suite)}")
    until = time.monotonic() + task["listen"] / 1000
    try:
        # What a server says before it has judged is no answer.
        while time.monotonic() < until and session.recv(1024, io.milliseconds_to_interval(left(until))):
            pass
    except nss_error.NSPRError as error:
        # Silence is what an accepted client hears.
        if "PR_IO_TIMEOUT_ERROR" not in str(error):
            raise
    session.shutdown()
    session.close()


try:
    main()
except Exception as error:
    say(error=str(error))

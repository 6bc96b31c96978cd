#!/usr/bin/python3
"""A client of Sigul's double TLS over python-nss, written from the protocol's description as an independent peer.

It works as the reference client is described: it forks before it initialises NSS; the child holds the outer session and
shuttles chunks between the bridge and two loopback socket pairs, one a stream; the parent runs the inner session over the
inner pair. Usage: double_tls_client.py -c client.conf --admin-password-file FILE list-users

With --log FILE it also writes what the reference client prints, as it was measured: the parent's word for each error, and
the child's.
"""
import argparse
import configparser
import hashlib
import hmac
import logging
import os
import select
import signal
import socket
import struct
import sys

import nss.error as nss_error
import nss.io as io
import nss.nss as nss
import nss.ssl as ssl

INNER = 0x80000000
CHUNK = 4092
REFUSED = 43
UNRECOVERABLE = 44


def settings(path):
    parser = configparser.RawConfigParser()
    with open(path, encoding="utf-8") as file:
        parser.read_file(file)
    return parser


class InitError(Exception):
    """NSS could not be started, in the reference client's words; the library's error is its cause."""


def initialise(config):
    """NSS in this process; python-nss keeps the password callback in the thread that set it."""
    password = config.get("nss", "nss-password")
    nss.set_password_callback(lambda slot, retry, *rest: None if retry else password)
    directory = config.get("nss", "nss-dir")
    try:
        nss.nss_init(directory)
    except nss_error.NSPRError as error:
        if error.errno != nss_error.SEC_ERROR_BAD_DATABASE:
            raise
        raise InitError(f"'{directory}' does not contain a valid NSS database") from error
    try:
        nss.get_internal_key_slot().authenticate(True, None)
    except nss_error.NSPRError as error:
        if error.errno != nss_error.SEC_ERROR_BAD_PASSWORD:
            raise
        raise InitError("Provided NSS password is incorrect") from error
    nickname = config.get("client", "client-cert-nickname")
    certificate = nss.find_cert_from_nickname(nickname, None)
    key = nss.find_key_by_any_cert(certificate, None)
    return certificate, key


def tls(connection, identity, host):
    """A TLS client session for this host over a connected NSPR socket."""
    session = ssl.SSLSocket.import_tcp_socket(connection) if isinstance(connection, int) else connection
    session.set_ssl_option(ssl.SSL_SECURITY, True)
    session.set_ssl_option(ssl.SSL_HANDSHAKE_AS_CLIENT, True)
    session.set_ssl_version_range(*VERSIONS)
    session.set_hostname(host)
    session.set_client_auth_data_callback(lambda ca_names, *rest: identity)
    return session


def pair():
    """Two connected TCP sockets on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


def child(config, outer, inner):
    """The outer session, and chunks in both directions until either side is done."""
    identity = initialise(config)
    host, port = config.get("client", "bridge-hostname"), config.getint("client", "bridge-port")
    address = next(a for a in io.AddrInfo(host) if a.family == io.PR_AF_INET)
    address.port = port
    bridge = tls(ssl.SSLSocket(address.family), identity, host)
    bridge.connect(address)
    bridge.force_handshake()
    reader = os.fork()
    # Both directions block, so each has a process. The session's keys were drawn before; nothing random is drawn after.
    if reader == 0:
        signal.alarm(TIMEOUT)
        to_parent(bridge, outer, inner)
        os._exit(0)
    to_bridge(bridge, outer, inner)
    # A bridge serves a client until that one closes: close_notify and FIN, although the reader has the socket too.
    try:
        bridge.shutdown(io.PR_SHUTDOWN_BOTH)
    except nss_error.NSPRError:
        pass  # the bridge has closed already
    os.waitpid(reader, 0)
    os._exit(0)


def to_bridge(bridge, outer, inner):
    waiting = {outer: 0, inner: INNER}
    while waiting:
        for stream in select.select(list(waiting), [], [])[0]:
            data = stream.recv(CHUNK)
            bridge.send(struct.pack(">I", waiting[stream] | len(data)) + data)
            outlive_the_parent()
            if not data:
                del waiting[stream]


def exactly(read, count):
    data = b""
    while len(data) < count:
        more = read(count - len(data))
        if not more:
            raise EOFError(f"{len(data)} of {count} bytes")
        data += more
    return data


def to_parent(bridge, outer, inner):
    """What the bridge sends, to the pair of its stream; an end of the session ends both pairs."""
    try:
        while True:
            (head,) = struct.unpack(">I", exactly(bridge.recv, 4))
            stream = inner if head & INNER else outer
            length = head & ~INNER
            if stream is inner:
                outlive_the_parent()
            if length:
                stream.sendall(exactly(bridge.recv, length))
            else:
                stream.shutdown(socket.SHUT_WR)
    except (EOFError, nss_error.NSPRError, OSError):
        for stream in (outer, inner):
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def header(fields):
    data = bytes([len(fields)])
    for key, value in fields:
        data += bytes([len(key)]) + key + bytes([len(value)]) + value
    return data


def read_header(read):
    raw = exactly(read, 1)
    fields = {}
    for _ in range(raw[0]):
        pair_of = []
        for _ in range(2):
            length = exactly(read, 1)
            text = exactly(read, length[0])
            raw += length + text
            pair_of.append(text)
        fields[pair_of[0]] = pair_of[1]
    return raw, fields


def perform(operation, config, outer, inner, password):
    """The request outside, the secrets inside, the reply outside."""
    identity = initialise(config)
    user = config.get("client", "user-name").encode()
    fields = [(b"op", operation.encode()), (b"user", user)]
    if operation == "user-info":
        fields.append((b"name", user))
    request = struct.pack(">I", 1) + header(fields)
    outer.sendall(request + struct.pack(">Q", 0))

    session = tls(inner.detach(), identity, config.get("client", "server-hostname"))
    session.reset_handshake(False)
    session.force_handshake()
    header_key, payload_key = os.urandom(64), os.urandom(64)
    session.send(header([
        (b"header-auth-sha512", hashlib.sha512(request).digest()),
        (b"payload-auth-sha512", hashlib.sha512(b"").digest()),
        (b"header-auth-key", header_key),
        (b"payload-auth-key", payload_key),
        (b"password", password),
    ]))
    try:
        session.shutdown(io.PR_SHUTDOWN_SEND)
    except nss_error.NSPRError:
        pass  # the server has all it needs with the last byte of the header, and may be done and gone by now

    # The reply has the whole time for itself: what the handshakes cost depends on how busy the host is.
    signal.alarm(TIMEOUT)
    code = exactly(outer.recv, 4)
    raw, fields = read_header(outer.recv)
    check(header_key, code + raw, exactly(outer.recv, 64))
    (length,) = struct.unpack(">Q", exactly(outer.recv, 8))
    payload = exactly(outer.recv, length)
    check(payload_key, payload, exactly(outer.recv, 64))
    (number,) = struct.unpack(">I", code)
    if number:
        said = "Error: Authentication failed" if number == 3 else f"Error: {number}"
        say(said)
        append(said)
        return 1
    if operation == "user-info":
        print("Administrator: " + ("yes" if fields[b"admin"] == b"\1" else "no"))
    for name in payload.split(b"\0")[:-1]:
        print(name.decode())
    return 0


def check(key, data, claimed):
    if not hmac.compare_digest(hmac.new(key, data, hashlib.sha512).digest(), claimed):
        raise ValueError("the reply is not authentic")


LOG = None


VERSIONS = ["tls1.2", "tls1.2"]
# A fork leaves the alarm behind, so each process sets its own.
TIMEOUT = 20


def outlive_the_parent():
    """A child whose deadline comes before its parent's would close the pairs, and the parent would see an end instead."""
    signal.alarm(TIMEOUT + 2)


def say(line):
    """A line in one piece, since parent and child write to one descriptor."""
    os.write(2, f"{line}\n".encode())


def append(line):
    """A line that the reference client prints without logging it."""
    if LOG is not None:
        with open(LOG, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def log_child(error):
    """What the child makes of its error, and the status that it leaves with."""
    number = getattr(error, "errno", None) if isinstance(error, nss_error.NSPRError) else None
    if number == nss_error.PR_CONNECT_REFUSED_ERROR:
        logging.debug("Connection refused")
        return REFUSED
    if number == nss_error.PR_CONNECT_RESET_ERROR:
        logging.debug("NSPR error: Connection reset")
    elif number == nss_error.SSL_ERROR_EXPIRED_CERT_ALERT:
        logging.error("(child) Our certificate has been rejected as expired")
        return UNRECOVERABLE
    elif isinstance(error, InitError):
        logging.error("%s", error)
        return UNRECOVERABLE
    else:
        logging.warning("Exception in child", exc_info=(type(error), error, error.__traceback__))
    return 1


def log_parent(error, status):
    """What the parent makes of its own error, knowing how its child ended."""
    number = getattr(error, "errno", None) if isinstance(error, nss_error.NSPRError) else None
    if status == REFUSED:
        logging.error("Connection refused")
    elif status == UNRECOVERABLE:
        pass  # the child said it
    elif isinstance(error, InitError):
        logging.error("%s", error)
    elif number == nss_error.PR_CONNECT_RESET_ERROR:
        logging.error("I/O error: NSPR connection reset")
    elif number == nss_error.PR_END_OF_FILE_ERROR:
        logging.error("I/O error: Unexpected EOF in NSPR")
    elif number is not None:
        logging.error("NSPR error", exc_info=(type(error), error, error.__traceback__))
    else:
        logging.error("I/O error: %r", error)


def main():
    global TIMEOUT
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", dest="config", required=True)
    parser.add_argument("--admin-password-file", required=True)
    parser.add_argument("--timeout", type=int, default=TIMEOUT)
    parser.add_argument("--log")
    parser.add_argument("--tls-min", default=VERSIONS[0])
    parser.add_argument("--tls-max", default=VERSIONS[1])
    parser.add_argument("operation", choices=["list-users", "list-keys", "user-info"])
    arguments = parser.parse_args()
    TIMEOUT = arguments.timeout
    signal.alarm(TIMEOUT)
    VERSIONS[:] = [arguments.tls_min, arguments.tls_max]
    if arguments.log:
        global LOG
        LOG = arguments.log
        logging.basicConfig(filename=LOG, format="%(levelname)s: %(message)s")
        sys.excepthook = lambda *failure: logging.error("Unexpected exception", exc_info=failure)
    else:
        logging.disable(logging.CRITICAL)
    config = settings(arguments.config)
    with open(arguments.admin_password_file, "rb") as file:
        password = file.read().rstrip(b"\n")

    outer, outer_far = pair()
    inner, inner_far = pair()
    # Before NSS is initialised: a fork after it would share its state and its random numbers.
    pid = os.fork()
    if pid == 0:
        signal.alarm(TIMEOUT)
        outer.close()
        inner.close()
        try:
            child(config, outer_far, inner_far)
        except Exception as error:  # the parent sees only that its pairs are closed
            say(f"(child) {error.__cause__ or error}")
            status = log_child(error)
            logging.shutdown()
            os._exit(status)
    outer_far.close()
    inner_far.close()
    failure = None
    try:
        return perform(arguments.operation, config, outer, inner, password)
    except (nss_error.NSPRError, InitError, EOFError, OSError, ValueError) as error:
        say(f"I/O error: {error.__cause__ or error}")
        failure = error
    finally:
        # A child that failed has said so and is gone; one that still shuttles closes its session now that nothing more comes.
        outer.close()
        gone, status = 0, 0
        for _ in range(100):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                break
            select.select([], [], [], 0.01)
        if not gone:
            os.kill(pid, signal.SIGTERM)
            _, status = os.waitpid(pid, 0)
    log_parent(failure, os.waitstatus_to_exitcode(status))
    return 1


if __name__ == "__main__":
    sys.exit(main())

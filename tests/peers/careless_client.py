#!/usr/bin/python3
"""A client of python-nss that makes one mistake, or does one thing that looks like one.

Usage: careless_client.py MISTAKE DATABASE NICKNAME PORT PASSWORD_FILE
"""
import os
import select
import signal
import sys
import threading

import nss.error as nss_error
import nss.io as io
import nss.nss as nss
import nss.ssl as ssl

mistake, directory, nickname, port, password_file = sys.argv[1:]
with open(password_file, encoding="utf-8") as file:
    password = file.read().rstrip("\n")


def initialise():
    nss.set_password_callback(lambda slot, retry, *rest: None if retry else password)
    nss.nss_init(directory)


def authenticate():
    nss.get_internal_key_slot().authenticate(True, None)


def identity():
    certificate = nss.find_cert_from_nickname(nickname, None)
    return certificate, nss.find_key_by_any_cert(certificate, None)


def handshake():
    own = identity()
    address = next(a for a in io.AddrInfo("localhost") if a.family == io.PR_AF_INET)
    address.port = int(port)
    connection = ssl.SSLSocket(address.family)
    connection.set_ssl_option(ssl.SSL_SECURITY, True)
    connection.set_ssl_option(ssl.SSL_HANDSHAKE_AS_CLIENT, True)
    connection.set_ssl_version_range("tls1.2", "tls1.2")
    if mistake != "no-host-name":
        connection.set_hostname("localhost")
    if mistake != "no-client-auth":
        connection.set_client_auth_data_callback(lambda ca_names, *rest: mistake != "hook-gives-nothing" and own)
    if mistake == "hook-crashes":
        connection.set_client_auth_data_callback(lambda ca_names, *rest: os.abort())
    if mistake == "own-check-refuses":
        connection.set_auth_certificate_callback(lambda *rest: False)
    connection.connect(address)
    if mistake == "gives-up-soon":
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    if mistake == "closes-early":
        connection.set_socket_option(io.PR_SockOpt_Nonblocking, True)
        try:
            connection.force_handshake()
        except nss_error.NSPRError:
            connection.close()
            sys.exit(1)
    if mistake == "peer-was-gone":
        # Until the peer has closed its end: a client that is slow to begin.
        descriptor = connection.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLRDHUP)
        poller.poll(10_000)
    connection.force_handshake()
    connection.shutdown()


def main():
    initialise()
    if mistake == "fork-after-init":
        child = os.fork()
        if child == 0:
            authenticate()
            handshake()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if mistake == "thread-without-callback":
        failed = []

        def use():
            try:
                authenticate()
            except nss_error.NSPRError as error:
                failed.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        return len(failed)
    authenticate()
    if mistake == "optional-nickname":
        try:
            nss.find_cert_from_nickname("a-better-one", None)
        except nss_error.NSPRError:
            pass
    handshake()
    if mistake == "optional-connection":
        try:
            io.Socket(io.PR_AF_INET).connect(io.NetworkAddress(io.PR_IpAddrLoopback, 1))
        except nss_error.NSPRError:
            pass
    return 3 if mistake in ("fails-afterwards", "optional-nickname", "optional-connection") else 0


try:
    sys.exit(main())
except nss_error.NSPRError as failure:
    print(failure, file=sys.stderr)
    sys.exit(0 if mistake == "ignores-failure" else 1)

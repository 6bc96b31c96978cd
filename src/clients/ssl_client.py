"""A handshake by Python's own ssl, whose library is OpenSSL. Reads the length of a task, the task as JSON, and the password; says one line of JSON for each step."""
import json
import socket
import ssl
import struct
import sys

(length,) = struct.unpack(">I", sys.stdin.buffer.read(4))
task = json.loads(sys.stdin.buffer.read(length))
password = sys.stdin.buffer.read()


def say(**what):
    print(json.dumps(what), flush=True)


try:
    say(version=ssl.OPENSSL_VERSION)
    context = ssl.create_default_context(cafile=task["cacert"], capath=task["capath"])
    low, high = (getattr(ssl.TLSVersion, "TLSv1_" + name[-1] if name != "tls1.0" else "TLSv1") for name in task["tls"])
    context.minimum_version, context.maximum_version = low, high
    if task["cert"]:
        # Without a password of ours it would ask at the terminal.
        context.load_cert_chain(task["cert"], task["key"], lambda: password)
    say(ready=True)
    with socket.create_connection((task["host"], task["port"]), task["timeout"]) as plain:
        say(connected=True)
        with context.wrap_socket(plain, server_hostname=task["host"]) as session:
            say(handshake=True, agreed=f"{session.version()}, {session.cipher()[0]}")
            session.settimeout(task["listen"] / 1000)
            try:
                session.recv(1024)
            except TimeoutError:
                pass
except Exception as error:
    say(error=f"{type(error).__name__}: {error}")

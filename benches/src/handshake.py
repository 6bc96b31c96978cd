"""What a python-nss client does for one TLS handshake: init, unlock, key lookup, handshake.

Arguments: database directory, nickname, port, password file.
"""
import sys

import nss.io as io
import nss.nss as nss
import nss.ssl as ssl

directory, nickname, port, password_file = sys.argv[1:]
with open(password_file, encoding="utf-8") as file:
    password = file.read().rstrip("\n")

nss.set_password_callback(lambda slot, retry, *rest: None if retry else password)
nss.nss_init(directory)
nss.get_internal_key_slot().authenticate(True, None)
certificate = nss.find_cert_from_nickname(nickname, None)
key = nss.find_key_by_any_cert(certificate, None)

address = next(a for a in io.AddrInfo("localhost") if a.family == io.PR_AF_INET)
address.port = int(port)
connection = ssl.SSLSocket(address.family)
connection.set_ssl_option(ssl.SSL_SECURITY, True)
connection.set_ssl_option(ssl.SSL_HANDSHAKE_AS_CLIENT, True)
connection.set_hostname("localhost")
connection.set_client_auth_data_callback(lambda ca_names, *rest: (certificate, key))
connection.connect(address)
connection.force_handshake()
connection.shutdown()
connection.close()

"""Lists a database as python-nss sees it after a login: for each certificate its SHA-256, its three trust words, whether
its private key is found; and what each given nickname leads to."""

import hashlib
import json
import sys

import nss.error as error
import nss.nss as nss

directory, password_file, names_file = sys.argv[1:]
with open(password_file, encoding="utf-8") as file:
    password = file.read().rstrip("\n")
with open(names_file, encoding="utf-8") as file:
    names = json.load(file)
nss.set_password_callback(lambda slot, retry, *_: None if retry else password)
nss.nss_init(directory)
slot = nss.get_internal_key_slot()
if slot.need_login():
    slot.authenticate()


def fingerprint(certificate):
    return hashlib.sha256(certificate.der_data).hexdigest()


def has_key(certificate):
    try:
        return nss.find_key_by_any_cert(certificate) is not None
    except error.NSPRError:
        return False


certificates = {}
for certificate in nss.list_certs(nss.PK11CertListAll):
    flags = certificate.trust_flags if isinstance(certificate.trust_flags, (list, tuple)) else (
        certificate.ssl_trust_flags, certificate.email_trust_flags, certificate.signing_trust_flags)
    certificates[fingerprint(certificate)] = {"trust": list(flags), "key": has_key(certificate)}
found = {}
for name in names:
    try:
        found[name] = sorted({fingerprint(certificate) for certificate in nss.find_certs_from_nickname(name)})
    except error.NSPRError:
        found[name] = []
json.dump({"certificates": certificates, "names": found}, sys.stdout)

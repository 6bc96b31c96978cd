# Authorities and what they issue, by OpenSSL's own tool, in the directory where they are called.
# shellcheck shell=sh
quiet() { "$@" >>tool.log 2>&1; }
authority() {
    quiet openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -subj "/CN=$1" -days 365 \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}
# NAME ISSUER EXTENSIONS KEY…
issue() {
    name=$1 issuer=$2
    printf '%b' "$3" >"$name.ext"
    shift 3
    quiet openssl req -newkey "$@" -nodes -keyout "$name.key" -out "$name.csr" -subj "/CN=$name"
    quiet openssl x509 -req -in "$name.csr" -CA "$issuer.pem" -CAkey "$issuer.key" -CAcreateserial -days 60 -extfile "$name.ext" -out "$name.pem"
}
server='subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n'
client='extendedKeyUsage=clientAuth\n'

# What every case has.
. "$F"
authority ca
authority other
issue server ca "$server" ec -pkeyopt ec_paramgen_curve:P-256
issue rsa-server ca "$server" rsa:2048
issue client ca "$client" ec -pkeyopt ec_paramgen_curve:P-256
issue rsa-client ca "$client" rsa:2048
# A configuration of OpenSSL with these lines in the section that every session begins with.
cat >head.cnf <<CONFIGURATION
openssl_conf = start
[start]
ssl_conf = parts
[parts]
system_default = settings
[settings]
CONFIGURATION
chmod 600 *.key
# The servers take what those of old take.
(cat head.cnf; echo 'CipherString = DEFAULT:@SECLEVEL=0') >weak.cnf

/* The least that a client of NSS must do for one handshake with a certificate of its database: initialise, log in, find certificate and
 * key, connect, shake hands, close. What nssight takes beyond that is its own.
 *
 * floor DIRECTORY PASSWORD_FILE NICKNAME HOST PORT [VERSION]: VERSION is 2 for TLS 1.2 only, 3 for TLS 1.3 only. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cert.h>
#include <keyhi.h>
#include <nspr.h>
#include <nss.h>
#include <pk11pub.h>
#include <ssl.h>
#include <sslproto.h>

static CERTCertificate *certificate;
static SECKEYPrivateKey *key;

static void failed(const char *step)
{
    fprintf(stderr, "floor: %s: %s\n", step, PR_ErrorToName(PR_GetError()));
    exit(1);
}

static char *password(PK11SlotInfo *slot, PRBool retry, void *given)
{
    (void)slot;
    return retry || !given ? NULL : PORT_Strdup(given);
}

static SECStatus answer(void *argument, PRFileDesc *fd, CERTDistNames *names, CERTCertificate **ours, SECKEYPrivateKey **its_key)
{
    (void)argument, (void)fd, (void)names;
    *ours = CERT_DupCertificate(certificate);
    *its_key = SECKEY_CopyPrivateKey(key);
    return SECSuccess;
}

int main(int count, char **words)
{
    if (count < 6) {
        fprintf(stderr, "usage: floor DIRECTORY PASSWORD_FILE NICKNAME HOST PORT [VERSION]\n");
        return 2;
    }
    char secret[512] = "";
    FILE *file = fopen(words[2], "r");
    if (!file || !fgets(secret, sizeof secret, file))
        failed("read the password");
    fclose(file);
    secret[strcspn(secret, "\n")] = 0;

    PK11_SetPasswordFunc(password);
    if (NSS_Initialize(words[1], "", "", "secmod.db", NSS_INIT_READONLY) != SECSuccess)
        failed("initialise");
    PK11SlotInfo *slot = PK11_GetInternalKeySlot();
    if (!slot || PK11_Authenticate(slot, PR_TRUE, secret) != SECSuccess)
        failed("log in");
    certificate = PK11_FindCertFromNickname(words[3], secret);
    if (!certificate)
        failed("find the certificate");
    key = PK11_FindKeyByAnyCert(certificate, secret);
    if (!key)
        failed("find the key");

    PRAddrInfo *found = PR_GetAddrInfoByName(words[4], PR_AF_INET, PR_AI_ADDRCONFIG);
    PRNetAddr address;
    if (!found || !PR_EnumerateAddrInfo(NULL, found, (PRUint16)atoi(words[5]), &address))
        failed("resolve");
    PR_FreeAddrInfo(found);
    PRFileDesc *fd = PR_OpenTCPSocket(PR_AF_INET);
    if (!fd || PR_Connect(fd, &address, PR_SecondsToInterval(10)) != PR_SUCCESS)
        failed("connect");
    fd = SSL_ImportFD(NULL, fd);
    if (!fd)
        failed("put TLS on it");
    int version = count > 6 ? atoi(words[6]) : 0;
    SSLVersionRange range = {
        version == 3 ? SSL_LIBRARY_VERSION_TLS_1_3 : SSL_LIBRARY_VERSION_TLS_1_2,
        version == 2 ? SSL_LIBRARY_VERSION_TLS_1_2 : SSL_LIBRARY_VERSION_TLS_1_3,
    };
    if (SSL_OptionSet(fd, SSL_NO_CACHE, PR_TRUE) != SECSuccess || SSL_VersionRangeSet(fd, &range) != SECSuccess ||
        SSL_SetURL(fd, words[4]) != SECSuccess || SSL_SetPKCS11PinArg(fd, secret) != SECSuccess ||
        SSL_GetClientAuthDataHook(fd, answer, NULL) != SECSuccess || SSL_ResetHandshake(fd, PR_FALSE) != SECSuccess)
        failed("prepare the handshake");
    if (SSL_ForceHandshake(fd) != SECSuccess)
        failed("shake hands");

    PR_Close(fd);
    SECKEY_DestroyPrivateKey(key);
    CERT_DestroyCertificate(certificate);
    PK11_FreeSlot(slot);
    return NSS_Shutdown() == SECSuccess ? 0 : 1;
}

#include "COpenSSL.h"

int CHub_SSL_CTX_set_min_proto_version(SSL_CTX *context, int version) {
    return SSL_CTX_set_min_proto_version(context, version);
}

EVP_PKEY *CHub_EVP_EC_gen(const char *curve) { return EVP_EC_gen(curve); }

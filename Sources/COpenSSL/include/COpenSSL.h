// OpenSSL's headers and one function for each OpenSSL macro that Swift cannot see.
#ifndef CHUB_OPENSSL_H
#define CHUB_OPENSSL_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "CHubSSL.h"

EVP_PKEY *CHub_EVP_EC_gen(const char *curve);

int CHub_SSL_CTX_set_min_proto_version(SSL_CTX *context, int version);

#endif

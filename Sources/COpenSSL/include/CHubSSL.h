// OpenSSL macros of the TLS and BIO layers, one function or constant each.
#ifndef CHUB_SSL_H
#define CHUB_SSL_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

extern const uint64_t CHub_SSL_OP_NO_TICKET;
extern const uint64_t CHub_SSL_OP_NO_RENEGOTIATION;
extern const uint64_t CHub_SSL_OP_NO_COMPRESSION;
extern const uint64_t CHub_SSL_OP_IGNORE_UNEXPECTED_EOF;
extern const uint64_t CHub_SSL_OP_CIPHER_SERVER_PREFERENCE;

long CHub_SSL_CTX_set_mode(SSL_CTX *context, long mode);
long CHub_SSL_CTX_set1_sigalgs_list(SSL_CTX *context, const char *algorithms);
long CHub_SSL_CTX_set1_groups_list(SSL_CTX *context, const char *groups);
long CHub_SSL_CTX_set_max_cert_list(SSL_CTX *context, long bytes);
long CHub_SSL_CTX_set_session_cache_mode(SSL_CTX *context, long mode);
long CHub_SSL_CTX_sess_set_cache_size(SSL_CTX *context, long sessions);
long CHub_SSL_CTX_add1_chain_cert(SSL_CTX *context, X509 *certificate);
long CHub_SSL_add1_chain_cert(SSL *connection, X509 *certificate);
long CHub_SSL_set_tlsext_host_name(SSL *connection, const char *name);

int CHub_ERR_GET_LIB(unsigned long error);
int CHub_ERR_GET_REASON(unsigned long error);

BUF_MEM *CHub_BIO_get_mem_ptr(BIO *bio);
int CHub_BIO_reset(BIO *bio);
long CHub_BIO_set_mem_buf(BIO *bio, BUF_MEM *memory, long close);

#endif

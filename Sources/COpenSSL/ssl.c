#include "CHubSSL.h"

const uint64_t CHub_SSL_OP_NO_TICKET = SSL_OP_NO_TICKET;
const uint64_t CHub_SSL_OP_NO_RENEGOTIATION = SSL_OP_NO_RENEGOTIATION;
const uint64_t CHub_SSL_OP_NO_COMPRESSION = SSL_OP_NO_COMPRESSION;
const uint64_t CHub_SSL_OP_IGNORE_UNEXPECTED_EOF = SSL_OP_IGNORE_UNEXPECTED_EOF;
const uint64_t CHub_SSL_OP_CIPHER_SERVER_PREFERENCE = SSL_OP_CIPHER_SERVER_PREFERENCE;

long CHub_SSL_CTX_set_mode(SSL_CTX *context, long mode) { return SSL_CTX_set_mode(context, mode); }

long CHub_SSL_CTX_set1_sigalgs_list(SSL_CTX *context, const char *algorithms) {
    return SSL_CTX_set1_sigalgs_list(context, algorithms);
}

long CHub_SSL_CTX_set1_groups_list(SSL_CTX *context, const char *groups) { return SSL_CTX_set1_groups_list(context, groups); }

long CHub_SSL_CTX_set_max_cert_list(SSL_CTX *context, long bytes) { return SSL_CTX_set_max_cert_list(context, bytes); }

long CHub_SSL_CTX_set_session_cache_mode(SSL_CTX *context, long mode) {
    return SSL_CTX_set_session_cache_mode(context, mode);
}

long CHub_SSL_CTX_sess_set_cache_size(SSL_CTX *context, long sessions) {
    return SSL_CTX_sess_set_cache_size(context, sessions);
}

long CHub_SSL_CTX_add1_chain_cert(SSL_CTX *context, X509 *certificate) {
    return SSL_CTX_add1_chain_cert(context, certificate);
}

long CHub_SSL_add1_chain_cert(SSL *connection, X509 *certificate) { return SSL_add1_chain_cert(connection, certificate); }

long CHub_SSL_set_tlsext_host_name(SSL *connection, const char *name) {
    return SSL_set_tlsext_host_name(connection, name);
}

int CHub_ERR_GET_LIB(unsigned long error) { return ERR_GET_LIB(error); }

int CHub_ERR_GET_REASON(unsigned long error) { return ERR_GET_REASON(error); }

BUF_MEM *CHub_BIO_get_mem_ptr(BIO *bio) {
    BUF_MEM *memory = NULL;
    BIO_get_mem_ptr(bio, &memory);
    return memory;
}

int CHub_BIO_reset(BIO *bio) { return BIO_reset(bio); }

long CHub_BIO_set_mem_buf(BIO *bio, BUF_MEM *memory, long close) { return BIO_set_mem_buf(bio, memory, close); }

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Certificates: read, checked, and those of clients verified (gnutls_x509_trust_list_verify_crt2(3)). */

#include "api/tls.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <string.h>

#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define CHAIN_MAX 8 /* certificates of a client, its own included */
#define NAMES_MAX 64
#define NAME_MAX_BYTES 512

struct tls {
	char *certificate, *key, *client_ca;
	gnutls_x509_trust_list_t trust; /* NULL: no clients by certificate */
};

static gnutls_datum_t datum_of(const char *text)
{
	return (gnutls_datum_t){.data = (unsigned char *)text, .size = (unsigned)strlen(text)};
}

static int read_pem(const char *path, char **ret, char **ret_error)
{
	size_t length;
	int r = file_read(path, ret, &length);
	if (r < 0)
		*ret_error = text_format("%s: cannot be read: %s", path, strerror(-r));
	return r;
}

/* GnuTLS refuses a key that is not the certificate's; what it takes here it takes when a listener starts. */
static int check_identity(const struct tls *tls, const struct tls_files *files, char **ret_error)
{
	gnutls_certificate_credentials_t credentials;
	gnutls_datum_t certificate = datum_of(tls->certificate), key = datum_of(tls->key);
	int r = gnutls_certificate_allocate_credentials(&credentials);
	if (r < 0) {
		*ret_error = text_format("TLS: %s", gnutls_strerror(r));
		return -ENOMEM;
	}
	r = gnutls_certificate_set_x509_key_mem2(credentials, &certificate, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_certificate_free_credentials(credentials);
	if (r < 0) {
		*ret_error = text_format("%s and %s: no certificate with its key: %s", files->certificate, files->key, gnutls_strerror(r));
		return -EINVAL;
	}
	return 0;
}

static int make_trust(struct tls *tls, const struct tls_files *files, char **ret_error)
{
	gnutls_datum_t pem = datum_of(tls->client_ca);
	int r = gnutls_x509_trust_list_init(&tls->trust, 0);
	if (r == 0 && gnutls_x509_trust_list_add_trust_mem(tls->trust, &pem, NULL, GNUTLS_X509_FMT_PEM, 0, 0) > 0)
		return 0;
	*ret_error = text_format("%s: holds no certificate of a CA", files->client_ca);
	return -EINVAL;
}

int tls_load(struct tls **ret, const struct tls_files *files, char **ret_error)
{
	struct tls *tls = xcalloc(1, sizeof *tls);
	int r = read_pem(files->certificate, &tls->certificate, ret_error);
	if (r == 0)
		r = read_pem(files->key, &tls->key, ret_error);
	if (r == 0)
		r = check_identity(tls, files, ret_error);
	if (r == 0 && files->client_ca)
		r = read_pem(files->client_ca, &tls->client_ca, ret_error);
	if (r == 0 && files->client_ca)
		r = make_trust(tls, files, ret_error);
	if (r < 0) {
		tls_free(tls);
		return r;
	}
	*ret = tls;
	return 0;
}

struct tls *tls_free(struct tls *tls)
{
	if (!tls)
		return NULL;
	if (tls->trust)
		gnutls_x509_trust_list_deinit(tls->trust, 1);
	free(tls->certificate);
	wipe_freep(&tls->key);
	free(tls->client_ca);
	free(tls);
	return NULL;
}

const char *tls_certificate(const struct tls *tls)
{
	return tls->certificate;
}

const char *tls_key(const struct tls *tls)
{
	return tls->key;
}

const char *tls_client_ca(const struct tls *tls)
{
	return tls->client_ca;
}

bool tls_same_identity(const struct tls *a, const struct tls *b)
{
	return strcmp(a->certificate, b->certificate) == 0 && strcmp(a->key, b->key) == 0;
}

bool tls_same_clients(const struct tls *a, const struct tls *b)
{
	return a->client_ca && b->client_ca ? strcmp(a->client_ca, b->client_ca) == 0 : a->client_ca == b->client_ca;
}

/* ---- clients ---- */

struct chain {
	gnutls_x509_crt_t items[CHAIN_MAX];
	unsigned count;
};

static void chain_done(struct chain *chain)
{
	for (unsigned i = 0; i < chain->count; i++)
		gnutls_x509_crt_deinit(chain->items[i]);
}

static bool read_chain(gnutls_session_t session, struct chain *chain)
{
	unsigned count = 0;
	const gnutls_datum_t *peers = gnutls_certificate_get_peers(session, &count);
	if (!peers || count == 0 || count > CHAIN_MAX)
		return false;
	for (; chain->count < count; chain->count++) {
		if (gnutls_x509_crt_init(&chain->items[chain->count]) < 0)
			return false;
		if (gnutls_x509_crt_import(chain->items[chain->count], &peers[chain->count], GNUTLS_X509_FMT_DER) < 0) {
			gnutls_x509_crt_deinit(chain->items[chain->count]);
			return false;
		}
	}
	return true;
}

static bool verifies(const struct tls *tls, struct chain *chain)
{
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
	unsigned status = 0;
	int r = gnutls_x509_trust_list_verify_crt2(tls->trust, chain->items, chain->count, &purpose, 1, 0, &status, NULL);
	if (r < 0 || status != 0)
		log_debug("api: a client's certificate does not verify: %s, status 0x%x", gnutls_strerror(r), status);
	return r >= 0 && status == 0;
}

/* Whether WANTED ("DNS:…") is an alternative name of CERTIFICATE. Names that hold a NUL are nobody's. */
static bool has_name(gnutls_x509_crt_t certificate, const char *wanted)
{
	static const struct {
		const char *prefix;
		int type;
	} kinds[] = {{"DNS:", GNUTLS_SAN_DNSNAME}, {"email:", GNUTLS_SAN_RFC822NAME}, {"URI:", GNUTLS_SAN_URI}};
	for (unsigned i = 0; i < NAMES_MAX; i++) {
		char name[NAME_MAX_BYTES];
		size_t size = sizeof name - 1;
		int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, name, &size, NULL);
		if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return false;
		if (type < 0)
			continue;
		name[size] = 0;
		for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
			size_t length = strlen(kinds[k].prefix);
			if (type == kinds[k].type && strncmp(wanted, kinds[k].prefix, length) == 0 && strlen(name) == size &&
				strcmp(wanted + length, name) == 0)
				return true;
		}
	}
	return false;
}

/* The first row that names it decides. */
static enum scope scope_of(gnutls_x509_crt_t certificate, const char *subject, const struct configuration *configuration)
{
	for (size_t i = 0; i < configuration->client_count; i++) {
		const struct client_settings *client = &configuration->clients[i];
		if (client->subject ? strcmp(client->subject, subject) == 0 : has_name(certificate, client->san))
			return client->scope;
	}
	return SCOPE_NONE;
}

enum scope tls_client_scope(
	const struct tls *tls, gnutls_session_t session, const struct configuration *configuration, struct caller *caller)
{
	_cleanup_(chain_done) struct chain chain = {};
	gnutls_datum_t subject = {};
	if (!tls->trust || !read_chain(session, &chain) || !verifies(tls, &chain) ||
		gnutls_x509_crt_get_dn3(chain.items[0], &subject, 0) < 0)
		return SCOPE_NONE;
	const char *text = (const char *)subject.data;
	enum scope scope = strlen(text) == subject.size ? scope_of(chain.items[0], text, configuration) : SCOPE_NONE;
	if (scope == SCOPE_NONE)
		log_debug("api: the certificate of %s is nobody's in holdfast.json", text);
	snprintf(caller->name, sizeof caller->name, "certificate %s", text);
	gnutls_free(subject.data);
	return scope;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `tls init DIR`: a CA, a certificate of the daemon and one of a client, for machines that have no CA of their own. Nothing is asked of
 * the daemon and nothing that stands is overwritten. Keys are on P-256, which every TLS library knows.
 */

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "ctl/command.h"
#include "util/address.h"
#include "util/file.h"
#include "util/text.h"

#define DAYS(count) ((long)(count)*86400)
#define CA_DAYS 3650
#define LEAF_DAYS 825 /* what Apple's platforms take at most (support.apple.com/103769) */
#define BACKDATE_SECONDS 3600 /* for clocks that are a little behind */
#define SERIAL_BYTES 16       /* RFC 5280, 4.1.2.2: at most 20, positive */

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

static void identity_done(struct identity *identity)
{
	X509_free(identity->certificate);
	EVP_PKEY_free(identity->key);
}

struct extension {
	int nid;
	const char *value;
};

static bool add_extensions(X509 *certificate, X509 *issuer, const struct extension *extensions, size_t count)
{
	X509V3_CTX context;
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	X509V3_set_ctx_nodb(&context);
	for (size_t i = 0; i < count; i++) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, extensions[i].nid, extensions[i].value);
		bool added = extension && X509_add_ext(certificate, extension, -1) == 1;
		X509_EXTENSION_free(extension);
		if (!added)
			return false;
	}
	return true;
}

static bool set_serial(X509 *certificate)
{
	unsigned char bytes[SERIAL_BYTES];
	if (RAND_bytes(bytes, sizeof bytes) != 1)
		return false;
	bytes[0] = (bytes[0] & 0x7f) | 1;
	BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
	bool set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return set;
}

/* A certificate for NAME, of ISSUER or, where that is NULL, of itself. */
static bool make(struct identity *identity, const char *name, const struct identity *issuer, long days, const struct extension *extensions,
	size_t count)
{
	X509 *certificate = identity->certificate = X509_new();
	identity->key = EVP_EC_gen("P-256");
	if (!certificate || !identity->key)
		return false;
	X509_NAME *subject = X509_get_subject_name(certificate);
	X509 *signer = issuer ? issuer->certificate : certificate;
	return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
	       X509_gmtime_adj(X509_getm_notBefore(certificate), -BACKDATE_SECONDS) && X509_gmtime_adj(X509_getm_notAfter(certificate), DAYS(days)) &&
	       X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) == 1 &&
	       X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1 && X509_set_pubkey(certificate, identity->key) == 1 &&
	       add_extensions(certificate, signer, extensions, count) &&
	       X509_sign(certificate, issuer ? issuer->key : identity->key, EVP_sha256()) > 0;
}

/* ---- files ---- */

static int write_new(const char *path, const char *bytes, size_t length, mode_t mode)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	if (write(fd, bytes, length) != (ssize_t)length || fsync(fd) < 0) {
		int r = errno ? -errno : -EIO;
		(void)unlink(path);
		return r;
	}
	return 0;
}

/* NAME.pem and NAME.key in FOLDER. An exit code. */
static int keep(const char *folder, const char *name, const struct identity *identity)
{
	BIO *memory[] = {BIO_new(BIO_s_mem()), BIO_new(BIO_s_secmem())};
	static const char *const suffixes[] = {"pem", "key"};
	int code = EXIT_FAILED;
	if (memory[0] && memory[1] && PEM_write_bio_X509(memory[0], identity->certificate) == 1 &&
		PEM_write_bio_PKCS8PrivateKey(memory[1], identity->key, NULL, NULL, 0, NULL, NULL) == 1)
		code = EXIT_OK;
	else
		complain(EXIT_FAILED, "%s: %s", name, ERR_reason_error_string(ERR_get_error()));
	for (size_t i = 0; i < ELEMENTSOF(memory) && code == EXIT_OK; i++) {
		_cleanup_free_ char *path = text_format("%s/%s.%s", folder, name, suffixes[i]);
		char *bytes;
		long length = BIO_get_mem_data(memory[i], &bytes);
		int r = write_new(path, bytes, (size_t)length, i == 0 ? 0644 : 0600);
		if (r < 0)
			code = complain(EXIT_FAILED, "%s cannot be written: %s", path, strerror(-r));
	}
	BIO_free(memory[0]);
	BIO_free(memory[1]);
	return code;
}

/* Half a set is none: all or nothing is made. */
static int check_absent(const char *folder)
{
	static const char *const names[] = {"ca.pem", "ca.key", "server.pem", "server.key", "client.pem", "client.key"};
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		_cleanup_free_ char *path = text_format("%s/%s", folder, names[i]);
		if (access(path, F_OK) == 0)
			return complain(EXIT_CONFLICT, "%s exists; it is not overwritten: choose another folder, or remove it first", path);
	}
	return EXIT_OK;
}

/* ---- names ---- */

/* One of --host, as OpenSSL writes alternative names. False: it is neither a name nor an address. */
static bool add_name(struct text *names, const char *host)
{
	struct ip_address address;
	size_t length = strlen(host);
	bool is_address = ip_address_parse(host, &address) == 0;
	if (!is_address && (length == 0 || length > 253 || strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*") != length))
		return false;
	text_append(names, ",%s:%s", is_address ? "IP" : "DNS", host);
	return true;
}

static int read_names(struct text *names, const char *hosts)
{
	_cleanup_free_ char *copy = text_dup(hosts);
	text_append(names, "DNS:localhost,IP:127.0.0.1,IP:::1");
	for (char *rest = copy, *host; (host = strsep(&rest, ","));)
		if (!add_name(names, host))
			return complain(EXIT_USAGE, "--host %s: \"%s\" is neither a host's name nor an address", hosts, host);
	return EXIT_OK;
}

int run_tls_init(struct invocation *invocation)
{
	const char *folder = invocation->operands[0];
	_cleanup_(identity_done) struct identity ca = {}, server = {}, client = {};
	_cleanup_text_ struct text names = TEXT_NULL;
	char own[256] = "";
	(void)gethostname(own, sizeof own - 1);
	int code = read_names(&names, invocation->options[OPTION_HOST] ? invocation->options[OPTION_HOST] : own[0] ? own : "localhost");
	if (code != EXIT_OK || (code = check_absent(folder)) != EXIT_OK)
		return code;
	const struct extension of_ca[] = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"}, {NID_key_usage, "critical,keyCertSign,cRLSign"},
		{NID_subject_key_identifier, "hash"}};
	const struct extension of_server[] = {{NID_basic_constraints, "critical,CA:FALSE"}, {NID_key_usage, "critical,digitalSignature"},
		{NID_ext_key_usage, "serverAuth"}, {NID_subject_key_identifier, "hash"}, {NID_authority_key_identifier, "keyid"},
		{NID_subject_alt_name, names.bytes}};
	const struct extension of_client[] = {{NID_basic_constraints, "critical,CA:FALSE"}, {NID_key_usage, "critical,digitalSignature"},
		{NID_ext_key_usage, "clientAuth"}, {NID_subject_key_identifier, "hash"}, {NID_authority_key_identifier, "keyid"}};
	if (!make(&ca, "Holdfast CA", NULL, CA_DAYS, of_ca, ELEMENTSOF(of_ca)) ||
		!make(&server, "holdfastd", &ca, LEAF_DAYS, of_server, ELEMENTSOF(of_server)) ||
		!make(&client, "holdfast-client", &ca, LEAF_DAYS, of_client, ELEMENTSOF(of_client)))
		return complain(EXIT_FAILED, "OpenSSL: %s", ERR_reason_error_string(ERR_get_error()));
	int r = directory_make(folder, 0700);
	if (r < 0)
		return complain(EXIT_FAILED, "%s cannot be made: %s", folder, strerror(-r));
	if ((code = keep(folder, "ca", &ca)) != EXIT_OK || (code = keep(folder, "server", &server)) != EXIT_OK ||
		(code = keep(folder, "client", &client)) != EXIT_OK)
		return code;
	printf("%s: ca.pem and ca.key, server.pem and server.key for %s, client.pem and client.key\n"
	       "in holdfast.json: \"tls\": {\"certificate\": \"%s/server.pem\", \"key\": \"%s/server.key\", \"clientCa\": \"%s/ca.pem\"},\n"
	       "  \"clients\": [{\"subject\": \"CN=holdfast-client\", \"scope\": \"control\"}]\n"
	       "ca.key belongs on no machine that is reached over the network: move it away\n",
		folder, names.bytes, folder, folder, folder);
	return EXIT_OK;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What TLS takes: the server's certificate and key, and who its clients' certificates are. libmicrohttpd asks a client for a
 * certificate and lets it in whatever it sends, so verifying it is done here.
 */

#include <stdbool.h>

#include <gnutls/gnutls.h>

#include "daemon/configuration.h"

struct tls;

/*
 * Reads the files that FILES names and checks that they belong together. 0, or a negative errno with *ret_error, a sentence that names the
 * file; the caller frees it.
 */
int tls_load(struct tls **ret, const struct tls_files *files, char **ret_error);
struct tls *tls_free(struct tls *tls); /* wipes the key; accepts NULL, returns NULL */

/* PEM, as libmicrohttpd wants them; borrowed. */
const char *tls_certificate(const struct tls *tls);
const char *tls_key(const struct tls *tls);
const char *tls_client_ca(const struct tls *tls); /* NULL: none */

bool tls_same_identity(const struct tls *a, const struct tls *b); /* certificate and key */
bool tls_same_clients(const struct tls *a, const struct tls *b);  /* who may verify clients */

/*
 * Whose certificate SESSION's client has shown: the scope that CLIENTS give it, with its subject in *CALLER's name. SCOPE_NONE without a
 * certificate, with one that does not verify now, and with one that nobody is.
 */
enum scope tls_client_scope(const struct tls *tls, gnutls_session_t session, const struct configuration *configuration,
	struct caller *caller);

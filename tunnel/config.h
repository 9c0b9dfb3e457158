/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A tunnel's document, parsed: what the daemon needs of every tunnel, and the driver's own settings, which its driver
 * has checked. Secrets stand in `document` alone and come out of tunnel_config_to_json() as null.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/address.h"
#include "util/problem.h"

#define TUNNEL_ID_MAX         12 /* ^[a-z][a-z0-9_]{0,11}$; with "hf-" it fills an interface name */
#define TUNNEL_ENDPOINTS_MAX  64
#define TUNNEL_COMPANIONS_MAX 7 /* with the endpoint in use they fill the gate's rule for one tunnel */

#define TUNNEL_CONNECT_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define TUNNEL_HEALTH_INTERVAL_USEC (5 * USEC_PER_SEC)

struct driver; /* tunnel/driver.h */

/* What a client may be given beside its settings: a user's name, a password. */
#define CREDENTIALS_MAX      8
#define CREDENTIAL_SIZE_MAX  4096
#define CREDENTIAL_NAME_RULE "one to thirty-two letters, digits, '-' and '_'"
bool credential_name_valid(const char *name);

/* One server. Alternatives of each other, the first is tried first. */
struct tunnel_endpoint {
	char *text; /* "vpn.example:51820/udp" as the document has it */
	char *host; /* a literal address or a name */
	bool is_literal;
	struct endpoint endpoint; /* address only if literal; port and protocol always */
};

/* Where a driver's client can be the kernel or a program: the kernel where it can, or one of the two and nothing else. */
enum tunnel_carrier { CARRIER_ANY, CARRIER_KERNEL, CARRIER_PROGRAM };

struct tunnel_config {
	char id[TUNNEL_ID_MAX + 1];
	char interface[16]; /* hf-<id> */
	const struct driver *driver;
	struct tunnel_endpoint *endpoints;
	size_t endpoint_count;
	bool all; /* routes: "all" */
	struct ip_prefix *routes;
	size_t route_count;
	struct ip_address *dns;
	size_t dns_count;
	struct ip_prefix *addresses; /* known beforehand (WireGuard), else none: the worker reports them */
	size_t address_count;
	struct endpoint
	        *companions; /* further servers that the client talks to whatever the endpoint (WireGuard: `peers`) */
	size_t companion_count;
	uint32_t mtu; /* 0: the driver's default */
	bool own_link;  /* the client makes the link itself */
	enum tunnel_carrier carrier; /* which of its driver's clients is asked for */
	bool net_admin; /* its worker keeps CAP_NET_ADMIN, although its driver could do without */
	char *user;     /* whose the worker is; NULL: the workers' own */
	char *program;  /* that the document names; NULL: none. Whoever may write it decides what runs */
	struct tunnel_credential {
		char *name; /* as its driver asks for it */
		char *file; /* in $CREDENTIALS_DIRECTORY (systemd.exec(5)) */
	} *credentials;
	size_t credential_count;
	bool autostart;
	uint64_t connect_timeout_usec;
	struct {
		bool enabled;
		uint64_t interval_usec;
		struct ip_address target; /* AF_UNSPEC: the tunnel's resolver or gateway */
	} health;
	json_object
	        *document; /* complete, with defaults and secrets; goes to the store and to the worker, nowhere else */
};

/* Whether ID is a tunnel's id, and the sentence that says what one looks like. */
bool tunnel_id_valid(const char *id);
extern const char TUNNEL_ID_RULE[];

/*
 * Parses and checks DOCUMENT, the driver's settings included. PREVIOUS, or NULL, is the stored tunnel that it replaces:
 * secrets that the new document leaves out or gives as null are taken from it, where id and driver are the same; peers
 * and endpoints are matched by their publicKey, else by their address. An empty string takes a secret away.
 * `secretsSet` is read over, so that what tunnel_config_to_json() gave may come back. Returns 0 and a new object, or
 * -EINVAL with every error. DOCUMENT stays the caller's.
 */
int tunnel_config_parse(json_object *document, const struct tunnel_config *previous, struct tunnel_config **ret,
        struct problems *problems);
/* The same by a worker, which reads the document anew: it trusts no one else's reading of it. What is wrong with it is logged. */
int tunnel_config_read(json_object *document, struct tunnel_config **ret);
struct tunnel_config *tunnel_config_free(struct tunnel_config *config); /* wipes secrets; accepts NULL, returns NULL */
DEFINE_CLEANUP(struct tunnel_config *, tunnel_config_free)
#define _cleanup_tunnel_config_ _cleanup_(tunnel_config_freep)

/* The document without secrets: null in their place, "secretsSet" lists the JSON Pointers of those that are set. The
 * caller owns it. */
json_object *tunnel_config_to_json(const struct tunnel_config *config);

/*
 * "HOST:PORT/PROTOCOL", HOST a literal address (IPv6 in brackets) or a host name (RFC 1123). Returns 0 and an object
 * that tunnel_endpoint_done() empties, or -EINVAL.
 */
int tunnel_endpoint_parse(const char *text, struct tunnel_endpoint *ret);
void tunnel_endpoint_done(struct tunnel_endpoint *endpoint);

/*
 * A wg-quick(8) file as a tunnel document. Inline only; what would run a program or open a file (PostUp, PreDown,
 * SaveConfig, …) is never done and named in WARNINGS, errors have pointers like "/line/12". Returns 0 and the document,
 * or -EINVAL.
 */
int tunnel_import_wireguard(
        const char *text, size_t length, const char *id, json_object **ret, struct problems *problems);

/*
 * An OpenVPN client's file (.ovpn) as a tunnel document. Certificates and keys must stand in it, inline. What would run
 * a program or open a file is never done and named in WARNINGS, or refused where the tunnel would not work without it.
 */
int tunnel_import_openvpn(
        const char *text, size_t length, const char *id, json_object **ret, struct problems *problems);

/* Tells the file's kind by its content, never by its name, and imports it. */
int tunnel_import(const char *text, size_t length, const char *id, json_object **ret, struct problems *problems);

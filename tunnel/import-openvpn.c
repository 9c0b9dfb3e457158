/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * OpenVPN's client files (.ovpn). Lines are split into words as OpenVPN does it, blocks are gathered up to their end, and
 * each option is looked up: first in the list of those that a tunnel can have (openvpn-settings.c), then in a table of
 * what is understood here, of what a tunnel has anyway, and of what is never done. An option that stands in none of them
 * is an error: what it was to protect would silently be missing.
 *
 * No word of a line that could be a secret is ever quoted: of a line the option's name alone is, once it was found.
 */

#include "tunnel/import-openvpn.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "tunnel/config.h"
#include "tunnel/openvpn-settings.h"
#include "util/fields.h"
#include "util/text.h"

#define LINES_MAX       10000
#define LINE_LENGTH_MAX 8192
#define WORDS_MAX       16
#define REMOTES_MAX     TUNNEL_ENDPOINTS_MAX
#define LIST_MAX        256
#define BLOCK_NAME_MAX  32

struct remote {
	char *host;
	char port[6];     /* "" as the file says elsewhere, or 1194 */
	char protocol[4]; /* "udp", "tcp", or "" */
	unsigned line;
};

struct import {
	struct problems *problems;
	unsigned line;
	char at[32]; /* "/line/12" */
	json_object *settings, *dns, *routes;
	struct remote remotes[REMOTES_MAX];
	size_t remote_count;
	char port[6], protocol[4];
	size_t connection; /* of the <connection> that is being read, its first remote + 1; 0: none */
	char connection_port[6], connection_protocol[4];
	bool nopull; /* routes are the file's, not the server's */
	char *words[WORDS_MAX];
	size_t word_count;
};

struct directive {
	const char *name;
	void (*read)(struct import *import);
	bool refused;    /* it would not be what the file means without it */
	const char *why; /* without a reader: NULL where a tunnel has it anyway, else why it is not done */
};

static void read_option(struct import *import, const struct openvpn_option *option);

static const struct openvpn_option *find_option(const char *name)
{
	for (size_t i = 0; i < openvpn_option_count; i++)
		if (openvpn_options[i].directive && strcmp(openvpn_options[i].directive, name) == 0)
			return &openvpn_options[i];
	return NULL;
}

static void error(struct import *import, const char *sentence)
{
	problems_error(import->problems, import->at, NULL, "%s", sentence);
}

static const char *word(const struct import *import, size_t index)
{
	return index < import->word_count ? import->words[index] : "";
}

static bool parse_port(const char *text, char ret[6])
{
	size_t length = strlen(text);
	if (length == 0 || length > 5 || strspn(text, "0123456789") != length || atol(text) < 1 || atol(text) > 65535)
		return false;
	snprintf(ret, 6, "%ld", atol(text));
	return true;
}

static bool parse_protocol(const char *text, char ret[4])
{
	static const char *const names[] = {"udp", "udp4", "udp6", "tcp", "tcp4", "tcp6", "tcp-client", "tcp4-client", "tcp6-client"};
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (strcmp(names[i], text) == 0) {
			snprintf(ret, 4, "%.3s", text);
			return true;
		}
	return false;
}

static void read_remote(struct import *import)
{
	struct remote remote = {.line = import->line};
	if (import->remote_count == REMOTES_MAX) {
		error(import, "there are too many servers");
		return;
	}
	if (import->word_count < 2)
		error(import, "remote has no server");
	else if (import->word_count > 2 && !parse_port(word(import, 2), remote.port))
		error(import, "remote's port must be a number between 1 and 65535");
	else if (import->word_count > 3 && !parse_protocol(word(import, 3), remote.protocol))
		error(import, "remote's protocol must be udp or tcp-client");
	else {
		remote.host = text_dup(word(import, 1));
		import->remotes[import->remote_count++] = remote;
	}
}

static void read_port(struct import *import)
{
	if (!parse_port(word(import, 1), import->connection ? import->connection_port : import->port))
		error(import, "the port must be a number between 1 and 65535");
}

static void read_proto(struct import *import)
{
	if (!parse_protocol(word(import, 1), import->connection ? import->connection_protocol : import->protocol))
		error(import, "the protocol must be udp or tcp-client");
}

static void read_dev(struct import *import)
{
	if (strncmp(word(import, 1), "tun", 3) != 0)
		error(import, "only tun is done: a bridged network (tap) has no place in a gate");
}

static void read_dev_type(struct import *import)
{
	if (strcmp(word(import, 1), "tun") != 0)
		error(import, "only tun is done");
}

/* auth-user-pass, with or without a file */
static void read_auth_user_pass(struct import *import)
{
	json_object_object_add(import->settings, "authUserPass", json_object_new_boolean(true));
	if (import->word_count > 1)
		problems_warning(import->problems, import->at, NULL,
		        "auth-user-pass names a file, which is not opened: give username and password with the tunnel");
}

/* A length for a netmask; -1: it is none. */
static int mask_length(const char *text)
{
	struct in_addr mask;
	if (inet_pton(AF_INET, text, &mask) != 1)
		return -1;
	uint32_t bits = ntohl(mask.s_addr);
	int length = __builtin_popcount(bits);
	uint32_t expected = length ? UINT32_MAX << (32 - length) : 0;
	return bits == expected ? length : -1;
}

static void add_route(struct import *import, const char *text)
{
	struct ip_prefix network;
	char buffer[IP_TEXT_MAX];
	if (ip_prefix_parse(text, &network) < 0)
		error(import, "is no network that is understood here: write ADDRESS and NETMASK");
	else if (json_object_array_length(import->routes) == LIST_MAX)
		error(import, "there are too many routes");
	else {
		network = ip_prefix_mask(network);
		json_object_array_add(import->routes, json_object_new_string(ip_prefix_format(buffer, &network)));
	}
}

/* A route to the gateway that the host has without the tunnel. */
static bool leads_outside(struct import *import, const char *gateway)
{
	if (strncmp(gateway, "net_gateway", strlen("net_gateway")) != 0)
		return false;
	problems_warning(import->problems, import->at, NULL, "a route outside the tunnel is not done: the gate lets the client talk to its server anyway");
	return true;
}

static void read_route(struct import *import)
{
	if (leads_outside(import, word(import, 3)))
		return;
	int length = import->word_count > 2 && strcmp(word(import, 2), "default") != 0 ? mask_length(word(import, 2)) : 32;
	_cleanup_free_ char *text = text_format("%s/%d", word(import, 1), length);
	add_route(import, text);
}

static void read_route_ipv6(struct import *import)
{
	if (!leads_outside(import, word(import, 2)))
		add_route(import, word(import, 1));
}

static void read_nopull(struct import *import)
{
	import->nopull = true;
}

/* pull-filter ignore|reject "redirect-gateway…": the file wants its own routes alone. */
static void read_pull_filter(struct import *import)
{
	if (strncmp(word(import, 2), "redirect-gateway", strlen("redirect-gateway")) == 0 && strcmp(word(import, 1), "accept") != 0)
		import->nopull = true;
	else
		problems_warning(import->problems, import->at, NULL,
		        "pull-filter is not done: routes of the server are never taken, addresses and resolvers are");
}

static void read_dhcp_option(struct import *import)
{
	struct ip_address address;
	char buffer[IP_TEXT_MAX];
	bool dns = strcmp(word(import, 1), "DNS") == 0 || strcmp(word(import, 1), "DNS6") == 0;
	if (!dns)
		problems_warning(import->problems, import->at, NULL, "of dhcp-option only DNS is done");
	else if (ip_address_parse(word(import, 2), &address) < 0)
		error(import, "dhcp-option DNS has no address");
	else if (json_object_array_length(import->dns) < LIST_MAX)
		json_object_array_add(import->dns, json_object_new_string(ip_address_format(buffer, &address)));
}

/* 0 switches a ping off, which many providers' files do: the server that fell silent would stay unnoticed. */
static void read_ping(struct import *import)
{
	const struct openvpn_option *option = find_option(import->words[0] + (import->words[0][0] == '-' ? 2 : 0));
	if (strcmp(word(import, 1), "0") == 0)
		problems_warning(import->problems, import->at, NULL,
		        "%s 0 is not done: a server that fell silent must be noticed", option->directive);
	else
		read_option(import, option);
}

/* What ncp-ciphers was called later; OpenVPN takes both. */
static void read_ncp_ciphers(struct import *import)
{
	read_option(import, find_option("data-ciphers"));
}

/* The use that remote-cert-tls asks for, spelled out. */
static void read_cert_use(struct import *import)
{
	static const char *const server[] = {"TLS Web Server Authentication", "serverAuth", "1.3.6.1.5.5.7.3.1"};
	for (size_t i = 0; i < ELEMENTSOF(server); i++)
		if (strcmp(word(import, 1), server[i]) == 0) {
			json_object_object_add(import->settings, "remoteCertTls", json_object_new_string("server"));
			return;
		}
	error(import, "of remote-cert-eku only a server's use is done: write remote-cert-tls server");
}

/* keepalive N M: of a client, ping and ping-restart */
static void read_keepalive(struct import *import)
{
	static const char *const keys[] = {"ping", "pingRestart"};
	for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
		_cleanup_free_ char *text = text_format("%.8ss", word(import, i + 1));
		json_object_object_add(import->settings, keys[i], json_object_new_string(text));
	}
}

static void read_verify_name(struct import *import)
{
	json_object_object_add(import->settings, "verifyX509Name", json_object_new_string(word(import, 1)));
	if (import->word_count > 2)
		json_object_object_add(import->settings, "verifyX509Type", json_object_new_string(word(import, 2)));
}

/* static-challenge TEXT ECHO [FORMAT]: 1 or 0, and scrv1 where nothing is said, or concat */
static void read_static_challenge(struct import *import)
{
	const struct openvpn_option *option = find_option("static-challenge");
	const char *wrong = openvpn_option_wrong(option, word(import, 1));
	const char *format = import->word_count > 3 ? word(import, 3) : "scrv1";
	bool concat = strcmp(format, "concat") == 0;
	if (wrong || (!concat && strcmp(format, "scrv1") != 0)) {
		problems_error(import->problems, import->at, NULL, "static-challenge's %s %s", wrong ? "text" : "format",
		        wrong ? wrong : "must be scrv1 or concat");
		return;
	}
	if (concat)
		json_object_object_add(import->settings, "staticChallengeConcat", json_object_new_boolean(true));
	json_object_object_add(import->settings, "staticChallenge", json_object_new_string(word(import, 1)));
	json_object_object_add(import->settings, "staticChallengeEcho", json_object_new_boolean(strcmp(word(import, 2), "1") == 0));
}

static void read_comp_lzo(struct import *import)
{
	json_object_object_add(import->settings, "compLzo",
	        json_object_new_string(import->word_count > 1 ? word(import, 1) : "adaptive"));
}

/* compress alone is the framing without an algorithm. */
static void read_compress(struct import *import)
{
	json_object_object_add(import->settings, "compress",
	        json_object_new_string(import->word_count > 1 ? word(import, 1) : "stub"));
}

/* More goodbyes than are taken are as many as are: each of them costs a second at the end. */
static void read_exit_notify(struct import *import)
{
	const struct openvpn_option *option = find_option("explicit-exit-notify");
	long count = import->word_count > 1 ? strtol(word(import, 1), NULL, 10) : 1;
	json_object_object_add(import->settings, option->key, json_object_new_int64(MIN_OF(count, option->max)));
}

static void read_float(struct import *import)
{
	json_object_object_add(import->settings, "float", json_object_new_boolean(true));
}

static void read_push_peer_info(struct import *import)
{
	json_object_object_add(import->settings, "pushPeerInfo", json_object_new_boolean(true));
}

#define PROGRAM "no program of the file is ever run"
#define FILE_   "no file is opened or written"
#define OURS    "Holdfast does it its own way"
#define PROXY   "the gate lets the client talk to its server alone"
#define CLIENT  "this is no client's file"
static const struct directive directives[] = {
        {"remote", read_remote},
        {"port", read_port},
        {"rport", read_port},
        {"proto", read_proto},
        {"dev", read_dev},
        {"dev-type", read_dev_type},
        {"auth-user-pass", read_auth_user_pass},
        {"route", read_route},
        {"route-ipv6", read_route_ipv6},
        {"route-nopull", read_nopull},
        {"pull-filter", read_pull_filter},
        {"dhcp-option", read_dhcp_option},
        {"keepalive", read_keepalive},
        {"verify-x509-name", read_verify_name},
        {"static-challenge", read_static_challenge},
        {"comp-lzo", read_comp_lzo},
        {"compress", read_compress},
        {"explicit-exit-notify", read_exit_notify},
        {"float", read_float},
        {"push-peer-info", read_push_peer_info},
        {"ping", read_ping},
        {"ping-restart", read_ping},
        {"ncp-ciphers", read_ncp_ciphers},
        {"remote-cert-eku", read_cert_use},
        /* A tunnel has these anyway, or they say nothing about it. */
        {"client"},
        {"pull"},
        {"tls-client"},
        {"nobind"},
        {"persist-key"},
        {"persist-tun"},
        {"resolv-retry"},
        {"remote-random"},
        {"remote-random-hostname"},
        {"connect-retry"},
        {"connect-retry-max"},
        {"connect-timeout"},
        {"server-poll-timeout"},
        {"hand-window"},
        {"auth-retry"},
        {"auth-nocache"},
        {"redirect-gateway"},
        {"redirect-private"},
        {"route-delay"},
        {"route-method"},
        {"route-metric"},
        {"topology"},
        {"verb"},
        {"mute"},
        {"mute-replay-warnings"},
        {"replay-window"},
        {"ping-timer-rem"},
        {"fast-io"},
        {"tun-mtu-extra"},
        {"mtu-disc"},
        {"disable-dco"},
        {"allow-compression"},
        {"allow-recursive-routing"},
        {"ncp-disable"},
        {"block-ipv6"},
        {"suppress-timestamps"},
        {"passtos"},
        {"multihome"},
        {"management-hold"},
        {"ifconfig-nowarn"},
        {"keysize"},
        {"block-outside-dns"},
        {"register-dns"},
        {"ip-win32"},
        {"windows-driver"},
        {"setenv"},
        {"setenv-safe"},
        {"ignore-unknown-option"},
        {"providers"},
        {"socket-flags"},
        {"user"},
        {"group"},
        {"nice"},
        {"mlock"},
        {"tun-ipv6"},
        {"disable-occ"},
        {"persist-remote-ip"},
        {"persist-local-ip"},
        {"tls-timeout"},
        {"tran-window"},
        {"tls-exit"},
        {"key-method"},
        {"ecdh-curve"},
        {"link-mtu"},
        {"mtu-test"},
        {"txqueuelen"},
        {"max-routes"},
        {"allow-pull-fqdn"},
        {"http-proxy-retry"},
        {"socks-proxy-retry"},
        {"dev-node"},
        {"tap-sleep"},
        {"dhcp-renew"},
        {"dhcp-release"},
        {"show-net-up"},
        {"pause-exit"},
        {"service"},
        /* Never done. */
        {"up", .why = PROGRAM},
        {"down", .why = PROGRAM},
        {"down-pre", .why = PROGRAM},
        {"up-restart", .why = PROGRAM},
        {"up-delay", .why = PROGRAM},
        {"ipchange", .why = PROGRAM},
        {"route-up", .why = PROGRAM},
        {"route-pre-down", .why = PROGRAM},
        {"tls-verify", .why = PROGRAM},
        {"plugin", .why = PROGRAM},
        {"iproute", .why = PROGRAM},
        {"script-security", .why = PROGRAM},
        {"client-connect", .why = PROGRAM},
        {"learn-address", .why = PROGRAM},
        {"auth-user-pass-verify", .why = PROGRAM},
        {"config", .why = FILE_},
        {"cd", .why = FILE_},
        {"chroot", .why = FILE_},
        {"askpass", .why = "no file is opened: give keyPassword with the tunnel"},
        {"log", .why = FILE_},
        {"log-append", .why = FILE_},
        {"status", .why = FILE_},
        {"writepid", .why = FILE_},
        {"capath", .why = FILE_},
        {"tmp-dir", .why = FILE_},
        {"replay-persist", .why = FILE_},
        {"syslog", .why = OURS},
        {"daemon", .why = OURS},
        {"management", .why = OURS},
        {"management-query-passwords", .why = OURS},
        {"mark", .why = OURS},
        {"local", .why = OURS},
        {"lport", .why = OURS},
        {"bind", .why = OURS},
        {"bind-dev", .why = OURS},
        {"route-gateway", .why = OURS},
        {"route-noexec", .why = OURS},
        {"ifconfig-noexec", .why = OURS},
        {"inactive", .why = OURS},
        {"ping-exit", .why = OURS},
        {"ns-cert-type", .why = "OpenVPN dropped it: write remote-cert-tls server"},
        {"http-proxy", .refused = true, .why = PROXY},
        {"http-proxy-option", .refused = true, .why = PROXY},
        {"socks-proxy", .refused = true, .why = PROXY},
        {"ifconfig", .refused = true, .why = "addresses are the server's to give"},
        {"ifconfig-ipv6", .refused = true, .why = "addresses are the server's to give"},
        {"secret", .refused = true, .why = "static keys have no forward secrecy, and OpenVPN drops them"},
        {"pkcs12", .refused = true, .why = "give ca, cert and key inline"},
        {"pkcs11-providers", .refused = true, .why = "keys in a token are not done"},
        {"pkcs11-id", .refused = true, .why = "keys in a token are not done"},
        {"cryptoapicert", .refused = true, .why = "keys of another system are not done"},
        {"dh", .refused = true, .why = CLIENT},
        {"server", .refused = true, .why = CLIENT},
        {"server-ipv6", .refused = true, .why = CLIENT},
        {"server-bridge", .refused = true, .why = CLIENT},
        {"mode", .refused = true, .why = CLIENT},
        {"tls-server", .refused = true, .why = CLIENT},
        {"push", .refused = true, .why = CLIENT},
};

static const struct directive *find_directive(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(directives); i++)
		if (strcmp(directives[i].name, name) == 0)
			return &directives[i];
	return NULL;
}

/* "tls-auth [inline] 1": older files say so of a block that stands elsewhere in them. */
static bool is_inline(struct import *import, const struct openvpn_option *option)
{
	if (strcmp(word(import, 1), "[inline]") != 0)
		return false;
	if (strcmp(option->directive, "tls-auth") == 0 && import->word_count > 2)
		json_object_object_add(import->settings, "keyDirection", json_object_new_int(atoi(word(import, 2))));
	return true;
}

/* A value of the table of settings. Values of secrets are never quoted, so nothing of a line is. */
static void read_option(struct import *import, const struct openvpn_option *option)
{
	const char *value = word(import, 1), *wrong;
	char *end;
	long number = strtol(value, &end, 10);
	switch (option->kind) {
	case OPENVPN_BLOCK:
		if (is_inline(import, option))
			return;
		problems_error(import->problems, import->at, NULL,
		        "%s names a file, which is not opened: put its content here, between <%s> and </%s>", option->directive,
		        option->directive, option->directive);
		return;
	case OPENVPN_NUMBER:
	case OPENVPN_DURATION:
		if (!*value || *end || number < option->min || number > option->max)
			problems_error(import->problems, import->at, NULL, "%s must be a number between %ld and %ld",
			        option->directive, option->min, option->max);
		else if (option->kind == OPENVPN_NUMBER)
			json_object_object_add(import->settings, option->key, json_object_new_int64(number));
		else {
			_cleanup_free_ char *text = text_format("%lds", number);
			json_object_object_add(import->settings, option->key, json_object_new_string(text));
		}
		return;
	case OPENVPN_FLAG:
		json_object_object_add(import->settings, option->key, json_object_new_boolean(true));
		return;
	case OPENVPN_WORD:
	case OPENVPN_CIPHERS:
	case OPENVPN_NAME:
	case OPENVPN_CHOICE:
	case OPENVPN_SECRET:
		wrong = openvpn_option_wrong(option, value);
		if (wrong)
			problems_error(import->problems, import->at, NULL, "%s %s", option->directive, wrong);
		else
			json_object_object_add(import->settings, option->key, json_object_new_string(value));
		return;
	}
}

static void read_directive(struct import *import)
{
	const char *name = import->words[0];
	if (strncmp(name, "--", 2) == 0)
		name += 2;
	const struct directive *directive = find_directive(name);
	const struct openvpn_option *option = find_option(name);
	if (directive && directive->read)
		directive->read(import);
	else if (option)
		read_option(import, option);
	else if (!directive)
		error(import, "is no option that is known here");
	else if (directive->refused)
		problems_error(import->problems, import->at, NULL, "%s is not done: %s", directive->name, directive->why);
	else if (directive->why)
		problems_warning(import->problems, import->at, NULL, "%s is not done: %s", directive->name, directive->why);
}

/*
 * Splits LINE into words in place: white space separates, single quotes keep everything, double quotes and backslashes
 * as in a shell, '#' and ';' begin a comment where a word would (options.c, parse_line). False: a quote is not closed.
 */
static bool split(struct import *import, char *line)
{
	char *to = line, quote = 0;
	bool inside = false;
	import->word_count = 0;
	for (; *line; line++) {
		char c = *line;
		if (!inside && (c == '#' || c == ';'))
			break;
		if (!inside && isspace((unsigned char)c))
			continue;
		if (!inside) {
			if (import->word_count == WORDS_MAX)
				return false;
			import->words[import->word_count++] = to;
			inside = true;
		}
		if (c == '\\' && quote != '\'' && line[1])
			*to++ = *++line;
		else if (quote ? c == quote : c == '"' || c == '\'')
			quote = quote ? 0 : c;
		else if (!quote && isspace((unsigned char)c)) {
			inside = false;
			*to++ = 0;
		} else
			*to++ = c;
	}
	if (inside)
		*to = 0;
	return !quote;
}

/* The text being read. */
struct source {
	const char *at, *end;
};

/* The next line into *RET, which the caller wipes and frees. False: there is none. */
static bool next_line(struct import *import, struct source *source, char **ret)
{
	if (source->at >= source->end || import->line >= LINES_MAX)
		return false;
	const char *stop = memchr(source->at, '\n', (size_t)(source->end - source->at));
	size_t size = (size_t)((stop ? stop : source->end) - source->at);
	const char *line = source->at;
	source->at = stop ? stop + 1 : source->end;
	snprintf(import->at, sizeof import->at, "/line/%u", ++import->line);
	if (size && line[size - 1] == '\r')
		size--;
	if (size > LINE_LENGTH_MAX) {
		error(import, "is too long");
		size = 0;
	} else if (memchr(line, 0, size)) {
		error(import, "holds a NUL character");
		size = 0;
	}
	*ret = text_ndup(line, size);
	return true;
}

/* The name in "<NAME>", or false. */
static bool opens_block(const char *line, char name[BLOCK_NAME_MAX])
{
	line += strspn(line, " \t");
	size_t length = strcspn(line, ">");
	if (line[0] != '<' || line[1] == '/' || line[length] != '>' || length < 2 || length > BLOCK_NAME_MAX)
		return false;
	snprintf(name, BLOCK_NAME_MAX, "%.*s", (int)length - 1, line + 1);
	return true;
}

static bool closes_block(const char *line, const char *name)
{
	size_t length = strlen(name);
	line += strspn(line, " \t");
	return strncmp(line, "</", 2) == 0 && strncmp(line + 2, name, length) == 0 && line[2 + length] == '>';
}

/* User name and password, in two lines. */
static void take_user(struct import *import, char *block)
{
	static const char *const keys[] = {"username", "password"};
	json_object_object_add(import->settings, "authUserPass", json_object_new_boolean(true));
	for (size_t i = 0; i < ELEMENTSOF(keys) && *block; i++) {
		size_t length = strcspn(block, "\n");
		bool more = block[length];
		block[length] = 0;
		if (*block)
			json_object_object_add(import->settings, keys[i], json_object_new_string(block));
		block += length + more;
	}
}

static void take_block(struct import *import, const char *name, char *block)
{
	const struct openvpn_option *option = find_option(name);
	const char *wrong;
	if (strcmp(name, "auth-user-pass") == 0) {
		take_user(import, block);
	} else if (!option || option->kind != OPENVPN_BLOCK) {
		if (find_directive(name) || option)
			problems_error(import->problems, import->at, NULL, "<%s> is no block that is taken", name);
		else
			error(import, "is no block that is known here");
	} else if ((wrong = openvpn_option_wrong(option, block))) {
		problems_error(import->problems, import->at, NULL, "<%s> %s", name, wrong);
	} else {
		json_object_object_add(import->settings, option->key, json_object_new_string(block));
	}
}

static void read_block(struct import *import, struct source *source, const char *name)
{
	char at[sizeof import->at];
	size_t size = (size_t)(source->end - source->at) + 1, length = 0;
	char *block = xcalloc(1, MIN_OF(size, (size_t)OPENVPN_BLOCK_MAX + LINE_LENGTH_MAX + 2)), *line;
	bool closed = false, too_long = false;
	strcpy(at, import->at);
	while (!closed && next_line(import, source, &line)) {
		size_t more = strlen(line);
		closed = closes_block(line, name);
		too_long |= length + more + 1 > OPENVPN_BLOCK_MAX;
		if (!closed && !too_long) {
			memcpy(block + length, line, more);
			length += more;
			block[length++] = '\n';
		}
		wipe_freep(&line);
	}
	strcpy(import->at, at);
	if (!closed)
		error(import, "this block has no end");
	else if (too_long)
		error(import, "this block is too long");
	else
		take_block(import, name, block);
	wipe(block, length);
	free(block);
}

/* What a <connection> says of port and protocol holds for its remote alone. */
static void end_connection(struct import *import)
{
	for (size_t i = import->connection - 1; i < import->remote_count; i++) {
		struct remote *remote = &import->remotes[i];
		if (!remote->port[0])
			strcpy(remote->port, import->connection_port);
		if (!remote->protocol[0])
			strcpy(remote->protocol, import->connection_protocol);
	}
	import->connection = 0;
	import->connection_port[0] = import->connection_protocol[0] = 0;
}

static void read_line(struct import *import, struct source *source, char *line)
{
	char name[BLOCK_NAME_MAX];
	if (import->connection && closes_block(line, "connection")) {
		end_connection(import);
	} else if (opens_block(line, name)) {
		if (strcmp(name, "connection") != 0)
			read_block(import, source, name);
		else if (import->connection)
			error(import, "is a <connection> inside another");
		else
			import->connection = import->remote_count + 1;
	} else if (!split(import, line)) {
		error(import, "has a quote that is not closed, or too many words");
	} else if (import->word_count) {
		read_directive(import);
	}
}

static void read_lines(struct import *import, const char *text, size_t length)
{
	static const char mark[] = "\xef\xbb\xbf"; /* UTF-8's byte order mark, which some editors put in front */
	struct source source = {text, text + length};
	char *line;
	if (length >= 3 && memcmp(text, mark, 3) == 0)
		source.at += 3;
	while (next_line(import, &source, &line)) {
		read_line(import, &source, line);
		wipe_freep(&line);
	}
	if (source.at < source.end)
		problems_error(import->problems, "", NULL, "has more than %d lines", LINES_MAX);
	if (import->connection)
		problems_error(import->problems, "", NULL, "has a <connection> without an end");
}

static json_object *make_endpoint(struct import *import, const struct remote *remote)
{
	const char *port = remote->port[0] ? remote->port : import->port[0] ? import->port : "1194";
	const char *protocol = remote->protocol[0] ? remote->protocol : import->protocol[0] ? import->protocol : "udp";
	bool six = strchr(remote->host, ':');
	_cleanup_free_ char *text = text_format("%s%s%s:%s/%s", six ? "[" : "", remote->host, six ? "]" : "", port, protocol);
	struct tunnel_endpoint endpoint;
	if (tunnel_endpoint_parse(text, &endpoint) < 0) {
		snprintf(import->at, sizeof import->at, "/line/%u", remote->line);
		error(import, "remote's server is neither an address nor a name");
		return NULL;
	}
	tunnel_endpoint_done(&endpoint);
	json_object *object = json_object_new_object();
	json_object_object_add(object, "address", json_object_new_string(text));
	return object;
}

static json_object *build(struct import *import, const char *id)
{
	json_object *document = json_object_new_object(), *endpoints = json_object_new_array();
	bool narrow = import->nopull && json_object_array_length(import->routes) > 0;
	for (size_t i = 0; i < import->remote_count; i++) {
		json_object *endpoint = make_endpoint(import, &import->remotes[i]);
		if (endpoint)
			json_object_array_add(endpoints, endpoint);
	}
	json_object_object_add(document, "id", json_object_new_string(id));
	json_object_object_add(document, "driver", json_object_new_string("openvpn"));
	json_object_object_add(document, "settings", json_object_get(import->settings));
	json_object_object_add(document, "endpoints", endpoints);
	json_object_object_add(document, "routes", narrow ? json_object_get(import->routes) : json_object_new_string("all"));
	json_object_object_add(document, "dns", json_object_get(import->dns));
	return document;
}

/* What a document by hand would be refused for, an import is refused for too. */
static void check_document(json_object *document, struct problems *problems)
{
	_cleanup_tunnel_config_ struct tunnel_config *config = NULL;
	(void)tunnel_config_parse(document, NULL, &config, problems);
}

static void import_done(struct import *import)
{
	for (size_t i = 0; i < import->remote_count; i++)
		free(import->remotes[i].host);
	json_object_put(import->settings);
	json_object_put(import->dns);
	json_object_put(import->routes);
}

int tunnel_import_openvpn(const char *text, size_t length, const char *id, json_object **ret, struct problems *problems)
{
	size_t errors = problems->errors;
	json_object *document = NULL;
	struct import import = {
	        .problems = problems,
	        .settings = json_object_new_object(),
	        .dns = json_object_new_array(),
	        .routes = json_object_new_array(),
	};
	read_lines(&import, text, length);
	if (problems->errors == errors && import.remote_count == 0)
		problems_error(problems, "", NULL, "has no remote: the server is missing");
	if (problems->errors == errors)
		document = build(&import, id);
	if (problems->errors == errors)
		check_document(document, problems);
	bool good = problems->errors == errors;
	if (good)
		*ret = STEAL(document);
	else
		json_wipe(import.settings);
	json_object_put(document);
	import_done(&import);
	return good ? 0 : -EINVAL;
}

bool import_is_openvpn(const char *text, size_t length)
{
	const char *end = text + length;
	char name[BLOCK_NAME_MAX + 1] = "";
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	while (text < end && (isspace((unsigned char)*text) || *text == '#' || *text == ';')) {
		const char *stop = isspace((unsigned char)*text) ? text : memchr(text, '\n', (size_t)(end - text));
		text = stop ? stop + 1 : end;
	}
	bool block = text < end && *text == '<';
	text += block;
	for (size_t i = 0; text < end && i < BLOCK_NAME_MAX && (isalnum((unsigned char)*text) || *text == '-'); text++)
		name[i++] = *text;
	return find_directive(name) || find_option(name) || (block && strcmp(name, "connection") == 0);
}

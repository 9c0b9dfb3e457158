/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * wg-quick(8) files. Three steps: lines are split and looked up in a table of keys, whose readers fill the JSON objects
 * of the interface and of each peer; then the peers are given their parts; then the document is checked like any other,
 * so that an import never yields what could not be written by hand. Of what a line holds only that is quoted which
 * cannot be a key, or a part of one, that stands in the wrong place: see quotable().
 *
 * Parts of peers: those whose AllowedIPs have 0.0.0.0/0 or ::/0 are alternatives of each other, `endpoints`; without
 * any, the first peer carries the routes and is the one endpoint. All others go into `settings.peers`. Routes are
 * `all`, or what all peers allow.
 */

#include "tunnel/import-wireguard.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "network/wireguard.h"
#include "tunnel/config.h"
#include "util/fields.h"
#include "util/text.h"

#define LINES_MAX       10000
#define LINE_LENGTH_MAX 8192
#define PEERS_MAX       128
#define LIST_MAX        1024
#define QUOTE_MAX       64
#define WORD_MAX        20 /* a word that somebody mistook for one of wg-quick's; half a WireGuard key is longer */

/* SECTION_OTHER: one that was complained about; what stands in it is passed over. */
enum section { SECTION_NONE, SECTION_INTERFACE, SECTION_PEER, SECTION_OTHER };

struct import {
	struct problems *problems;
	enum section section;
	unsigned line;
	char at[32]; /* "/line/12" */
	json_object *settings, *dns;
	json_object *peers; /* array; each has the members of an endpoint and allowedIPs */
	json_object *peer;  /* the last of them, borrowed */
	unsigned section_line;
	unsigned seen; /* keys of this section, by their row */
	bool has_interface;
};

struct key {
	enum section section;
	const char *name;
	bool required;
	bool repeats; /* may stand several times, and then adds up */
	void (*read)(struct import *import, const char *value);
	const char *instead; /* without a reader: why it is not done */
};

static void error(struct import *import, const char *sentence)
{
	problems_error(import->problems, import->at, NULL, "%s", sentence);
}

/*
 * Whether TEXT may be repeated in a problem. WireGuard's keys are 44 characters of base64, which has neither '.' nor
 * ':': what is cut by these into short parts, or is a short word of letters, is no key.
 */
static bool quotable(const char *text)
{
	size_t length = strlen(text), letters = 0, run = 0;
	bool address = strpbrk(text, ".:");
	for (size_t i = 0; i < length; i++) {
		if (!isascii((unsigned char)text[i]) || !isgraph((unsigned char)text[i]))
			return false;
		letters += isalpha((unsigned char)text[i]) != 0;
		run = strchr(".:", text[i]) ? 0 : run + 1;
		if (run > WORD_MAX)
			return false;
	}
	return length > 0 && length <= QUOTE_MAX && (address || letters == length);
}

/* "TEXT is no KIND", or "an item here" in place of a TEXT that may not be quoted. */
static void error_no(struct import *import, const char *text, const char *kind)
{
	bool quoted = quotable(text);
	problems_error(import->problems, import->at, NULL, "%s%s%s is no %s", quoted ? "\"" : "",
	        quoted ? text : *text ? "an item here" : "an empty item", quoted ? "\"" : "", kind);
}

/* The first item of the comma-separated LIST, without the space around it; NULL at the end. Cuts LIST up. */
static char *next_item(char **list)
{
	char *item = *list;
	if (!item)
		return NULL;
	*list = strchr(item, ',');
	if (*list)
		*(*list)++ = 0;
	item += strspn(item, " \t");
	for (size_t length = strlen(item); length && strchr(" \t", item[length - 1]); length--)
		item[length - 1] = 0;
	return item;
}

static void read_key_as(
        struct import *import, json_object *object, const char *member, const char *name, const char *value)
{
	uint8_t key[WIREGUARD_KEY_SIZE];
	if (wireguard_key_parse(value, key) < 0)
		problems_error(import->problems, import->at, NULL,
		        "%s is no WireGuard key: those are 44 characters of base64", name);
	else
		json_object_object_add(object, member, json_object_new_string(value));
	wipe(key, sizeof key);
}

static void read_private_key(struct import *import, const char *value)
{
	read_key_as(import, import->settings, "privateKey", "PrivateKey", value);
}

static void read_public_key(struct import *import, const char *value)
{
	read_key_as(import, import->peer, "publicKey", "PublicKey", value);
}

static void read_preshared_key(struct import *import, const char *value)
{
	read_key_as(import, import->peer, "presharedKey", "PresharedKey", value);
}

/* Adds the prefixes of the list VALUE to the array MEMBER of OBJECT, which is made where it is missing. */
static void read_prefixes(
        struct import *import, json_object *object, const char *member, const char *value, bool networks)
{
	_cleanup_free_ char *copy = text_dup(value);
	char *rest = copy, text[IP_TEXT_MAX];
	json_object *array;
	if (!json_object_object_get_ex(object, member, &array)) {
		array = json_object_new_array();
		json_object_object_add(object, member, array);
	}
	if (networks && !*value)
		return; /* a peer that is allowed nothing yet: wg(8) takes that */
	for (char *item = next_item(&rest); item; item = next_item(&rest)) {
		struct ip_prefix prefix;
		if (ip_prefix_parse(item, &prefix) < 0) {
			error_no(import, item,
			        networks ? "network; write ADDRESS/LENGTH" : "address; write ADDRESS/LENGTH");
			continue;
		}
		if (json_object_array_length(array) == LIST_MAX) {
			error(import, "this list is too long");
			return;
		}
		if (networks)
			prefix = ip_prefix_mask(prefix);
		json_object_array_add(array, json_object_new_string(ip_prefix_format(text, &prefix)));
	}
}

static void read_address(struct import *import, const char *value)
{
	read_prefixes(import, import->settings, "addresses", value, false);
}

static void read_allowed(struct import *import, const char *value)
{
	read_prefixes(import, import->peer, "allowedIPs", value, true);
}

/* wg-quick takes what is no address for a search domain. */
static void read_dns(struct import *import, const char *value)
{
	_cleanup_free_ char *copy = text_dup(value);
	char *rest = copy, text[IP_TEXT_MAX];
	bool domains = false;
	for (char *item = next_item(&rest); item; item = next_item(&rest)) {
		struct ip_address address;
		if (ip_address_parse(item, &address) < 0)
			domains = true;
		else if (json_object_array_length(import->dns) < LIST_MAX)
			json_object_array_add(import->dns, json_object_new_string(ip_address_format(text, &address)));
	}
	if (domains)
		problems_warning(import->problems, import->at, NULL,
		        "search domains are not set: only addresses of resolvers are");
}

/* A decimal number of at most MAX, or -1. */
static long parse_number(const char *value, long max)
{
	size_t length = strlen(value);
	if (length == 0 || length > 9 || strspn(value, "0123456789") != length)
		return -1;
	long number = strtol(value, NULL, 10);
	return number <= max ? number : -1;
}

static void read_mtu(struct import *import, const char *value)
{
	long mtu = parse_number(value, 65535);
	if (mtu < 576)
		error(import, "the MTU must be a number between 576 and 65535");
	else
		json_object_object_add(import->settings, "mtu", json_object_new_int64(mtu));
}

static void read_keepalive(struct import *import, const char *value)
{
	_cleanup_free_ char *text = NULL;
	long seconds = strcasecmp(value, "off") == 0 ? 0 : parse_number(value, 65535);
	if (seconds < 0) {
		error(import, "PersistentKeepalive must be a number of seconds between 0 and 65535, or off");
		return;
	}
	text = text_format("%lds", seconds);
	json_object_object_add(import->peer, "persistentKeepalive", json_object_new_string(text));
}

static void read_endpoint(struct import *import, const char *value)
{
	_cleanup_free_ char *text = text_format("%s/udp", value);
	struct tunnel_endpoint endpoint;
	if (tunnel_endpoint_parse(text, &endpoint) < 0) {
		error_no(import, value, "endpoint; write ADDRESS:PORT or NAME:PORT, an IPv6 address in brackets");
		return;
	}
	tunnel_endpoint_done(&endpoint);
	json_object_object_add(import->peer, "address", json_object_new_string(text));
}

#define HOOK "no program of the file is ever run"
static const struct key keys[] = {
        {SECTION_INTERFACE, "PrivateKey", .required = true, .read = read_private_key},
        {SECTION_INTERFACE, "Address", .required = true, .repeats = true, .read = read_address},
        {SECTION_INTERFACE, "DNS", .repeats = true, .read = read_dns},
        {SECTION_INTERFACE, "MTU", .read = read_mtu},
        {SECTION_INTERFACE, "ListenPort", .instead = "the client takes a free port"},
        {SECTION_INTERFACE, "FwMark", .instead = "Holdfast marks the client's packets with its own"},
        {SECTION_INTERFACE, "Table", .instead = "Holdfast has a routing table of its own"},
        {SECTION_INTERFACE, "PreUp", .repeats = true, .instead = HOOK},
        {SECTION_INTERFACE, "PostUp", .repeats = true, .instead = HOOK},
        {SECTION_INTERFACE, "PreDown", .repeats = true, .instead = HOOK},
        {SECTION_INTERFACE, "PostDown", .repeats = true, .instead = HOOK},
        {SECTION_INTERFACE, "SaveConfig", .instead = "the file is read once and never written"},
        {SECTION_PEER, "PublicKey", .required = true, .read = read_public_key},
        {SECTION_PEER, "PresharedKey", .read = read_preshared_key},
        {SECTION_PEER, "Endpoint", .read = read_endpoint},
        {SECTION_PEER, "AllowedIPs", .repeats = true, .read = read_allowed},
        {SECTION_PEER, "PersistentKeepalive", .read = read_keepalive},
};

static const char *section_title(enum section section)
{
	return section == SECTION_INTERFACE ? "[Interface]" : "[Peer]";
}

/* A key that does not belong here is named where it is the other section's, or a word that cannot be a pasted key. */
static void error_unknown(struct import *import, const char *name, const char *value)
{
	const char *here = section_title(import->section), *known = NULL;
	for (size_t i = 0; i < ELEMENTSOF(keys); i++)
		if (strcasecmp(keys[i].name, name) == 0)
			known = keys[i].name;
	if (import->section == SECTION_NONE)
		error(import, "stands before the first section: [Interface] or [Peer]");
	else if (known)
		problems_error(import->problems, import->at, NULL, "%s does not belong in %s but in %s", known, here,
		        section_title(import->section == SECTION_PEER ? SECTION_INTERFACE : SECTION_PEER));
	else if (*value && quotable(name))
		problems_error(import->problems, import->at, NULL, "%s is no key that wg-quick knows in %s", name, here);
	else
		problems_error(import->problems, import->at, NULL, "is no key that wg-quick knows in %s", here);
}

static void read_pair(struct import *import, const char *name, const char *value)
{
	for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
		const struct key *key = &keys[i];
		if (key->section != import->section || strcasecmp(key->name, name) != 0)
			continue;
		if (import->seen & 1u << i && !key->repeats) {
			problems_error(import->problems, import->at, NULL, "%s stands here a second time", key->name);
			return;
		}
		import->seen |= 1u << i;
		if (key->read)
			key->read(import, value);
		else
			problems_warning(
			        import->problems, import->at, NULL, "%s is not done: %s", key->name, key->instead);
		return;
	}
	error_unknown(import, name, value);
}

/* What must stand in a section and does not. What stands there and is wrong was told where it stands. */
static void end_section(struct import *import)
{
	char at[32];
	snprintf(at, sizeof at, "/line/%u", import->section_line);
	for (size_t i = 0; i < ELEMENTSOF(keys); i++)
		if (keys[i].required && keys[i].section == import->section && !(import->seen & 1u << i))
			problems_error(import->problems, at, NULL, "this %s has no %s", section_title(import->section),
			        keys[i].name);
}

static void begin_section(struct import *import, const char *line)
{
	end_section(import);
	import->section = strcasecmp(line, "[Interface]") == 0 ? SECTION_INTERFACE
	                  : strcasecmp(line, "[Peer]") == 0    ? SECTION_PEER
	                                                       : SECTION_OTHER;
	import->section_line = import->line;
	import->seen = 0;
	if (import->section == SECTION_OTHER)
		error(import, "is no section that wg-quick knows; there are [Interface] and [Peer]");
	if (import->section == SECTION_INTERFACE && import->has_interface) {
		error(import, "is a second [Interface]");
		import->section = SECTION_OTHER;
	}
	if (import->section == SECTION_PEER && json_object_array_length(import->peers) == PEERS_MAX) {
		error(import, "there are too many peers");
		import->section = SECTION_OTHER;
	}
	import->has_interface |= import->section == SECTION_INTERFACE;
	if (import->section == SECTION_PEER) {
		import->peer = json_object_new_object();
		json_object_array_add(import->peers, import->peer);
	}
}

/* LINE without comment and surrounding space; cuts it up. */
static char *trim(char *line)
{
	line[strcspn(line, "#")] = 0;
	line += strspn(line, " \t\r");
	for (size_t length = strlen(line); length && strchr(" \t\r", line[length - 1]); length--)
		line[length - 1] = 0;
	return line;
}

static void read_line(struct import *import, char *line)
{
	line = trim(line);
	if (!*line)
		return;
	if (*line == '[') {
		begin_section(import, line);
		return;
	}
	if (import->section == SECTION_OTHER)
		return;
	char *equals = strchr(line, '=');
	if (!equals) {
		error(import, "is neither a [Section] nor KEY = VALUE");
		return;
	}
	*equals = 0;
	read_pair(import, trim(line), trim(equals + 1));
}

static void read_lines(struct import *import, const char *text, size_t length)
{
	static const char mark[] = "\xef\xbb\xbf"; /* UTF-8's byte order mark, which some editors put in front */
	const char *end = text + length;
	if (length >= 3 && memcmp(text, mark, 3) == 0)
		text += 3;
	while (text < end && import->line < LINES_MAX) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		size_t size = (size_t)((stop ? stop : end) - text);
		snprintf(import->at, sizeof import->at, "/line/%u", ++import->line);
		if (size > LINE_LENGTH_MAX) {
			error(import, "is too long");
		} else if (memchr(text, 0, size)) {
			error(import, "holds a NUL character");
		} else {
			_cleanup_wipe_ char *copy = text_ndup(text, size);
			read_line(import, copy);
		}
		text = stop ? stop + 1 : end;
	}
	if (text < end)
		problems_error(import->problems, "", NULL, "has more than %d lines", LINES_MAX);
	end_section(import);
}

#define HALVES_MAX 8 /* a default route that is cut into more pieces than 2^8 is none that a person wrote */

static bool lists(json_object *allowed, const struct ip_prefix *network)
{
	for (size_t i = 0; i < json_object_array_length(allowed); i++) {
		struct ip_prefix listed;
		if (ip_prefix_parse(json_object_get_string(json_object_array_get_idx(allowed, i)), &listed) == 0 &&
			listed.length <= network->length && ip_prefix_contains(&listed, &network->address))
			return true;
	}
	return false;
}

/* Whether ALLOWED covers all of NETWORK, be it in pieces: 0.0.0.0/1 and 128.0.0.0/1 are everything, too. */
static bool covers(json_object *allowed, struct ip_prefix network)
{
	if (lists(allowed, &network))
		return true;
	if (network.length == HALVES_MAX)
		return false;
	struct ip_prefix upper = {.address = network.address, .length = (uint8_t)(network.length + 1)}, lower = upper;
	upper.address.bytes[network.length / 8] |= (uint8_t)(0x80u >> (network.length % 8));
	return covers(allowed, lower) && covers(allowed, upper);
}

static bool allows_everything(json_object *peer)
{
	json_object *allowed = json_object_object_get(peer, "allowedIPs");
	return allowed && (covers(allowed, (struct ip_prefix){.address.family = AF_INET}) ||
			   covers(allowed, (struct ip_prefix){.address.family = AF_INET6}));
}

static void add_all(json_object *to, json_object *from)
{
	for (size_t i = 0; from && i < json_object_array_length(from); i++)
		json_object_array_add(to, json_object_get(json_object_array_get_idx(from, i)));
}

/* Says which peers become endpoints; returns how many, with at least one if there is a peer. */
static size_t choose_carriers(json_object *peers, bool carries[PEERS_MAX + 1])
{
	size_t count = json_object_array_length(peers), carriers = 0;
	for (size_t i = 0; i < count; i++)
		carriers += carries[i] = allows_everything(json_object_array_get_idx(peers, i));
	if (carriers == 0 && count > 0)
		carries[0] = true;
	return carriers;
}

static json_object *build(struct import *import, const char *id)
{
	bool carries[PEERS_MAX + 1] = {};
	json_object *document = json_object_new_object(), *endpoints = json_object_new_array();
	json_object *others = json_object_new_array(), *routes = json_object_new_array();
	bool all = choose_carriers(import->peers, carries) > 0;
	for (size_t i = 0; i < json_object_array_length(import->peers); i++) {
		json_object *peer = json_object_array_get_idx(import->peers, i);
		add_all(routes, json_object_object_get(peer, "allowedIPs"));
		if (carries[i])
			json_object_object_del(peer, "allowedIPs");
		json_object_array_add(carries[i] ? endpoints : others, json_object_get(peer));
	}
	json_object_object_add(import->settings, "peers", others);
	json_object_object_add(document, "id", json_object_new_string(id));
	json_object_object_add(document, "driver", json_object_new_string("wireguard"));
	json_object_object_add(document, "settings", json_object_get(import->settings));
	json_object_object_add(document, "endpoints", endpoints);
	json_object_object_add(document, "routes", all ? json_object_new_string("all") : json_object_get(routes));
	json_object_object_add(document, "dns", json_object_get(import->dns));
	json_object_put(routes);
	return document;
}

static void check_peers(struct import *import)
{
	size_t count = json_object_array_length(import->peers);
	bool carries[PEERS_MAX + 1] = {};
	if (!import->has_interface)
		problems_error(import->problems, "", NULL, "has no [Interface] section");
	if (count == 0) {
		problems_error(import->problems, "", NULL, "has no [Peer] section");
		return;
	}
	choose_carriers(import->peers, carries);
	for (size_t i = 0; i < count; i++)
		if (carries[i] && !json_object_object_get(json_object_array_get_idx(import->peers, i), "address"))
			problems_error(import->problems, "", NULL,
			        "the [Peer] that carries the routes, number %zu, has no Endpoint", i + 1);
}

/* What a document by hand would be refused for, an import is refused for too. */
static void check_document(json_object *document, struct problems *problems)
{
	_cleanup_tunnel_config_ struct tunnel_config *config = NULL;
	(void)tunnel_config_parse(document, NULL, &config, problems);
}

int tunnel_import_wireguard(
        const char *text, size_t length, const char *id, json_object **ret, struct problems *problems)
{
	size_t errors = problems->errors;
	json_object *document = NULL;
	struct import import = {
	        .problems = problems,
	        .settings = json_object_new_object(),
	        .dns = json_object_new_array(),
	        .peers = json_object_new_array(),
	};
	read_lines(&import, text, length);
	if (problems->errors == errors)
		check_peers(&import);
	if (problems->errors == errors) {
		document = build(&import, id);
		check_document(document, problems);
	}
	bool good = problems->errors == errors;
	if (good) {
		*ret = STEAL(document);
	} else {
		json_wipe(document);
		json_wipe(import.settings);
		json_wipe(import.peers);
	}
	json_object_put(document);
	json_object_put(import.settings);
	json_object_put(import.dns);
	json_object_put(import.peers);
	return good ? 0 : -EINVAL;
}

bool import_is_wireguard(const char *text, size_t length)
{
	static const char *const sections[] = {"[interface]", "[peer]"};
	const char *end = text + length;
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	while (text < end && (isspace((unsigned char)*text) || *text == '#')) {
		const char *stop = *text == '#' ? memchr(text, '\n', (size_t)(end - text)) : text;
		text = stop ? stop + 1 : end;
	}
	for (size_t i = 0; i < ELEMENTSOF(sections); i++)
		if ((size_t)(end - text) >= strlen(sections[i]) &&
		        strncasecmp(text, sections[i], strlen(sections[i])) == 0)
			return true;
	return false;
}

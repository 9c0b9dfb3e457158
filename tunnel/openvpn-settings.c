/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The options that are taken, and what each run gets beside them. A client of ours holds before it connects, has one
 * server with a literal address, opens a tun that is there already, and touches neither addresses nor routes.
 */

#include "tunnel/openvpn-settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "util/duration.h"
#include "util/fields.h"
#include "util/text.h"

#define WORD_MAX   1024
#define LINE_MAX_  256
#define SECRET_MAX 256 /* OPENVPN_VALUE_MAX */
#define LIST(...)  (const char *const[]){__VA_ARGS__, NULL}

const struct openvpn_option openvpn_options[] = {
        {"ca", "ca", OPENVPN_BLOCK},
        {"cert", "cert", OPENVPN_BLOCK},
        {"key", "key", OPENVPN_BLOCK},
        {"extraCerts", "extra-certs", OPENVPN_BLOCK},
        {"crl", "crl-verify", OPENVPN_BLOCK},
        {"peerFingerprint", "peer-fingerprint", OPENVPN_BLOCK},
        {"tlsAuth", "tls-auth", OPENVPN_BLOCK},
        {"tlsCrypt", "tls-crypt", OPENVPN_BLOCK},
        {"tlsCryptV2", "tls-crypt-v2", OPENVPN_BLOCK},
        {"keyDirection", "key-direction", OPENVPN_NUMBER, .max = 1},
        {"remoteCertTls", "remote-cert-tls", OPENVPN_CHOICE, .choices = LIST("server")},
        {"verifyX509Name", "verify-x509-name", OPENVPN_NAME, .beside = "verifyX509Type", .otherwise = "subject"},
        {"verifyX509Type", NULL, OPENVPN_CHOICE, .choices = LIST("subject", "name", "name-prefix")},
        {"cipher", "cipher", OPENVPN_CIPHERS},
        {"dataCiphers", "data-ciphers", OPENVPN_CIPHERS},
        {"dataCiphersFallback", "data-ciphers-fallback", OPENVPN_CIPHERS},
        {"auth", "auth", OPENVPN_WORD},
        {"tlsCipher", "tls-cipher", OPENVPN_WORD},
        {"tlsCiphersuites", "tls-ciphersuites", OPENVPN_WORD},
        {"tlsGroups", "tls-groups", OPENVPN_WORD},
        {"tlsVersionMin", "tls-version-min", OPENVPN_CHOICE, .choices = LIST("1.0", "1.1", "1.2", "1.3")},
        {"tlsVersionMax", "tls-version-max", OPENVPN_CHOICE, .choices = LIST("1.0", "1.1", "1.2", "1.3")},
        {"tlsCertProfile", "tls-cert-profile", OPENVPN_CHOICE,
                .choices = LIST("insecure", "legacy", "preferred", "suiteb")},
        {"compress", "compress", OPENVPN_CHOICE,
                .choices = LIST("lz4", "lz4-v2", "lzo", "migrate", "stub", "stub-v2")},
        {"compLzo", "comp-lzo", OPENVPN_CHOICE, .choices = LIST("adaptive", "no", "yes")},
        {"tunMtu", "tun-mtu", OPENVPN_NUMBER, .min = 576, .max = 65535},
        {"mssfix", "mssfix", OPENVPN_NUMBER, .max = 65535},
        {"fragment", "fragment", OPENVPN_NUMBER, .udp_only = true, .min = 68, .max = 65535},
        {"sndbuf", "sndbuf", OPENVPN_NUMBER, .max = 16 << 20},
        {"rcvbuf", "rcvbuf", OPENVPN_NUMBER, .max = 16 << 20},
        {"float", "float", OPENVPN_FLAG},
        {"ping", "ping", OPENVPN_DURATION, .min = 1, .max = 3600},
        {"pingRestart", "ping-restart", OPENVPN_DURATION, .min = 2, .max = 3600},
        {"renegotiate", "reneg-sec", OPENVPN_DURATION, .max = 7 * 86400},
        {"explicitExitNotify", "explicit-exit-notify", OPENVPN_NUMBER, .udp_only = true, .max = 3},
        {"pushPeerInfo", "push-peer-info", OPENVPN_FLAG},
        {"authUserPass", "auth-user-pass", OPENVPN_FLAG},
        {"staticChallenge", "static-challenge", OPENVPN_NAME, .beside = "staticChallengeEcho", .otherwise = "0"},
        {"staticChallengeEcho", NULL, OPENVPN_FLAG},
        {"staticChallengeConcat", NULL, OPENVPN_FLAG},
        {"username", NULL, OPENVPN_SECRET},
        {"password", NULL, OPENVPN_SECRET},
        {"keyPassword", NULL, OPENVPN_SECRET},
};
const size_t openvpn_option_count = ELEMENTSOF(openvpn_options);
const char *const openvpn_secrets[] = {"key", "tlsAuth", "tlsCrypt", "tlsCryptV2", "password", "keyPassword", NULL};

static const char *text_of(json_object *value)
{
	const char *text = json_object_get_string(value);
	return json_object_is_type(value, json_type_string) && strlen(text) == (size_t)json_object_get_string_len(value)
	               ? text
	               : NULL;
}

const char *openvpn_settings_text(json_object *settings, const char *key)
{
	return text_of(json_object_object_get(settings, key));
}

bool openvpn_settings_flag(json_object *settings, const char *key)
{
	return json_object_get_boolean(json_object_object_get(settings, key));
}

/* Printable ASCII and line ends; no line of it ends the block. */
static const char *wrong_block(const struct openvpn_option *option, const char *text)
{
	bool fingerprints = strcmp(option->key, "peerFingerprint") == 0;
	if (strlen(text) > OPENVPN_BLOCK_MAX)
		return "is too long";
	if (!fingerprints && !strstr(text, "-----BEGIN "))
		return "holds no block that begins with -----BEGIN: write what stands in the file, not its name";
	for (const char *at = text; *at; at++)
		if ((*at < 0x20 && !strchr("\n\r\t", *at)) || *at > 0x7e || *at == '<')
			return "holds characters that do not belong there";
	return NULL;
}

static const char *wrong_word(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:+@=-";
	size_t length = strlen(text);
	return length == 0 || length > WORD_MAX || strspn(text, allowed) != length ? "is no word, or list of words with colons"
	                                                                          : NULL;
}

/* "none" among the CIPHERS, which are separated by colons, whatever its case: whoever can listen would read all. */
static const char *wrong_ciphers(const char *ciphers)
{
	for (size_t length; *ciphers; ciphers += length + (ciphers[length] == ':')) {
		length = strcspn(ciphers, ":");
		if (length == strlen("none") && strncasecmp(ciphers, "none", length) == 0)
			return "is no encryption; \"none\" is not taken";
	}
	return NULL;
}

static const char *wrong_line(const char *text, size_t max)
{
	if (!*text || strlen(text) > max)
		return "is empty, or too long";
	return text_has_control(text, strlen(text)) ? "holds control characters" : NULL;
}

static const char *wrong_choice(const struct openvpn_option *option, const char *text)
{
	for (const char *const *choice = option->choices; *choice; choice++)
		if (strcmp(*choice, text) == 0)
			return NULL;
	return "is none of the values that there are";
}

const char *openvpn_option_wrong(const struct openvpn_option *option, const char *text)
{
	switch (option->kind) {
	case OPENVPN_BLOCK:
		return wrong_block(option, text);
	case OPENVPN_WORD:
		return wrong_word(text);
	case OPENVPN_CIPHERS:
		return wrong_word(text) ? wrong_word(text) : wrong_ciphers(text);
	case OPENVPN_NAME:
		return wrong_line(text, LINE_MAX_);
	case OPENVPN_CHOICE:
		return wrong_choice(option, text);
	case OPENVPN_SECRET:
		return wrong_line(text, SECRET_MAX);
	case OPENVPN_NUMBER:
	case OPENVPN_DURATION:
	case OPENVPN_FLAG:
		break;
	}
	return "is no text";
}

static void check_number(const struct openvpn_option *option, json_object *value, const char *pointer, struct problems *problems)
{
	int64_t number = json_object_get_int64(value);
	if (!json_object_is_type(value, json_type_int) || number < option->min || number > option->max)
		problems_error(problems, pointer, value, "must be a number between %ld and %ld", option->min, option->max);
}

static void check_duration(const struct openvpn_option *option, json_object *value, const char *pointer, struct problems *problems)
{
	uint64_t usec;
	if (!text_of(value) || duration_parse(text_of(value), &usec) < 0 || usec % USEC_PER_SEC ||
	        usec < (uint64_t)option->min * USEC_PER_SEC || usec > (uint64_t)option->max * USEC_PER_SEC)
		problems_error(problems, pointer, value, "must be whole seconds, %lds to %lds", option->min, option->max);
}

static void check_text(const struct openvpn_option *option, json_object *value, const char *pointer, struct problems *problems)
{
	_cleanup_text_ struct text known = TEXT_NULL;
	const char *wrong = text_of(value) ? openvpn_option_wrong(option, text_of(value)) : "must be a string";
	for (const char *const *choice = option->choices; choice && *choice; choice++)
		text_append(&known, "%s%s", choice == option->choices ? ": " : ", ", *choice);
	if (wrong)
		problems_error(problems, pointer, NULL, "%s%s", wrong, known.bytes ? known.bytes : "");
}

static void check_member(const struct openvpn_option *option, json_object *value, struct problems *problems)
{
	char pointer[POINTER_MAX];
	pointer_member(pointer, "/settings", option->key);
	switch (option->kind) {
	case OPENVPN_NUMBER:
		check_number(option, value, pointer, problems);
		break;
	case OPENVPN_DURATION:
		check_duration(option, value, pointer, problems);
		break;
	case OPENVPN_FLAG:
		if (!json_object_is_type(value, json_type_boolean))
			problems_error(problems, pointer, value, "must be true or false");
		break;
	case OPENVPN_BLOCK:
	case OPENVPN_WORD:
	case OPENVPN_CIPHERS:
	case OPENVPN_NAME:
	case OPENVPN_CHOICE:
	case OPENVPN_SECRET:
		check_text(option, value, pointer, problems);
		break;
	}
}

static const struct openvpn_option *find(const char *key)
{
	for (size_t i = 0; i < openvpn_option_count; i++)
		if (strcmp(openvpn_options[i].key, key) == 0)
			return &openvpn_options[i];
	return NULL;
}

/* What OpenVPN would refuse, or could not work, is said before it is started. */
static void check_whole(json_object *settings, struct problems *problems)
{
	bool user = json_object_get_boolean(json_object_object_get(settings, "authUserPass")) || json_object_object_get(settings, "username");
	if (!json_object_object_get(settings, "ca") && !json_object_object_get(settings, "peerFingerprint"))
		problems_error(problems, "/settings/ca", NULL, "is missing: by it, or by peerFingerprint, the server is known");
	if (!json_object_object_get(settings, "cert") != !json_object_object_get(settings, "key"))
		problems_error(problems, json_object_object_get(settings, "cert") ? "/settings/key" : "/settings/cert", NULL,
		        "is missing: a certificate and its key go together");
	if (!json_object_object_get(settings, "cert") && !user)
		problems_error(problems, "/settings/cert", NULL,
		        "is missing: without a certificate the server must ask for a user name (authUserPass)");
	if (json_object_object_get(settings, "password") && !json_object_object_get(settings, "username"))
		problems_error(problems, "/settings/username", NULL, "is missing, beside a password");
	if (json_object_object_get(settings, "staticChallenge") && !user)
		problems_error(problems, "/settings/authUserPass", NULL, "is missing: the response to a challenge goes with a password");
	if (!!json_object_object_get(settings, "tlsAuth") + !!json_object_object_get(settings, "tlsCrypt") + !!json_object_object_get(settings, "tlsCryptV2") > 1)
		problems_error(problems, "/settings/tlsCrypt", NULL, "only one of tlsAuth, tlsCrypt and tlsCryptV2 is taken");
	if (json_object_object_get(settings, "ca") && !json_object_object_get(settings, "remoteCertTls") && !json_object_object_get(settings, "verifyX509Name"))
		problems_warning(problems, "/settings/remoteCertTls", NULL,
		        "is not set: whoever has any certificate of this CA can play the server");
}

void openvpn_settings_check(json_object *settings, json_object *endpoints, uint32_t *ret_mtu, struct problems *problems)
{
	char at[POINTER_MAX];
	size_t errors = problems->errors;
	json_object_object_foreach(settings, key, value)
	{
		const struct openvpn_option *option = find(key);
		if (!option)
			problems_error(problems, pointer_member(at, "/settings", key), NULL, "is no option that is taken");
		else if (value)
			check_member(option, value, problems);
	}
	if (json_object_array_length(endpoints) == 0)
		problems_error(problems, "/endpoints", NULL, "is empty; OpenVPN needs the address of a server");
	for (size_t i = 0; i < json_object_array_length(endpoints); i++) {
		json_object *endpoint = json_object_array_get_idx(endpoints, i);
		char pointer[POINTER_MAX];
		if (!json_object_is_type(endpoint, json_type_object))
			continue; /* it was named already */
		json_object_object_foreach(endpoint, name, unused)
		{
			(void)unused;
			if (strcmp(name, "address") != 0)
				problems_error(problems, pointer_member(at, pointer_index(pointer, "/endpoints", i), name),
				        NULL, "is no member of an OpenVPN endpoint: only address is");
		}
	}
	if (problems->errors != errors)
		return;
	check_whole(settings, problems);
	*ret_mtu = (uint32_t)json_object_get_int64(json_object_object_get(settings, "tunMtu"));
}

/* Writing. The first failure is kept. */

struct output {
	int fd;
	int error;
};

static void put(struct output *output, const char *format, ...) _printf_(2, 3);
static void put(struct output *output, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	if (vdprintf(output->fd, format, arguments) < 0 && output->error == 0)
		output->error = errno ? -errno : -EIO;
	va_end(arguments);
}

static void put_quoted(struct output *output, const char *value)
{
	put(output, " \"");
	for (; *value; value++)
		put(output, "%s%c", *value == '"' || *value == '\\' ? "\\" : "", *value);
	put(output, "\"");
}

static void put_option(struct output *output, const struct openvpn_option *option, json_object *settings, json_object *value)
{
	uint64_t usec = 0;
	json_object *beside = option->beside ? json_object_object_get(settings, option->beside) : NULL;
	bool flag = json_object_is_type(beside, json_type_boolean);
	switch (option->kind) {
	case OPENVPN_BLOCK:
		put(output, "<%s>\n%s\n</%s>\n", option->directive, text_of(value), option->directive);
		break;
	case OPENVPN_WORD:
	case OPENVPN_CIPHERS:
	case OPENVPN_CHOICE:
		put(output, "%s %s\n", option->directive, text_of(value));
		break;
	case OPENVPN_NAME:
		put(output, "%s", option->directive);
		put_quoted(output, text_of(value));
		put(output, " %s\n", !beside ? option->otherwise : !flag ? text_of(beside) : json_object_get_boolean(beside) ? "1" : "0");
		break;
	case OPENVPN_NUMBER:
		put(output, "%s %" PRId64 "\n", option->directive, json_object_get_int64(value));
		break;
	case OPENVPN_DURATION:
		(void)duration_parse(text_of(value), &usec);
		put(output, "%s %" PRIu64 "\n", option->directive, usec / USEC_PER_SEC);
		break;
	case OPENVPN_FLAG:
		if (json_object_get_boolean(value))
			put(output, "%s\n", option->directive);
		break;
	case OPENVPN_SECRET:
		break;
	}
}

/* What a server may not decide. Routes are the document's; a ping of the document's own wins. */
static void put_filters(struct output *output, json_object *settings)
{
	static const char *const never[] = {"route ", "route-ipv6 ", "redirect-gateway", "redirect-private", "block-outside-dns"};
	for (size_t i = 0; i < ELEMENTSOF(never); i++)
		put(output, "pull-filter ignore \"%s\"\n", never[i]);
	if (json_object_object_get(settings, "ping"))
		put(output, "pull-filter ignore \"ping \"\n");
	if (json_object_object_get(settings, "pingRestart"))
		put(output, "pull-filter ignore \"ping-restart\"\npull-filter ignore \"ping-exit\"\n");
}

/*
 * Waiting is not the client's business: within connect-timeout a server must have said something, within hand-window
 * the handshake must be done, and what follows is the policy's.
 */
int openvpn_settings_write(json_object *settings, const struct openvpn_run *run, int fd)
{
	static const char fixed[] = "client\ndev-type tun\ndisable-dco\nifconfig-noexec\nroute-noexec\nscript-security 0\nnobind\n"
				    "resolv-retry 0\nconnect-timeout 10\nhand-window 15\nauth-retry none\n"
				    "management-client\nmanagement-hold\nmanagement-query-passwords\nmanagement-up-down\n"
				    "suppress-timestamps\nverb 3\n";
	char address[IP_TEXT_MAX];
	bool udp = run->endpoint.protocol == IPPROTO_UDP, six = run->endpoint.address.family == AF_INET6;
	struct output output = {.fd = fd};
	put(&output, "%s", fixed);
	put(&output, "dev %s\nmanagement %s unix\n", run->interface, run->control);
	put(&output, "remote %s %u %s%s\n", ip_address_format(address, &run->endpoint.address), run->endpoint.port,
		udp ? "udp" : "tcp", six ? "6" : "4");
	if (run->mark)
		put(&output, "mark %" PRIu32 "\n", run->mark);
	put_filters(&output, settings);
	if (json_object_object_get(settings, "compress") || json_object_object_get(settings, "compLzo"))
		put(&output, "allow-compression asym\n");
	if (json_object_object_get(settings, "username") && !json_object_get_boolean(json_object_object_get(settings, "authUserPass")))
		put(&output, "auth-user-pass\n");
	for (size_t i = 0; i < openvpn_option_count; i++) {
		const struct openvpn_option *option = &openvpn_options[i];
		json_object *value = json_object_object_get(settings, option->key);
		if (value && option->directive && (udp || !option->udp_only))
			put_option(&output, option, settings, value);
	}
	return output.error;
}

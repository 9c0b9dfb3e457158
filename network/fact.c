/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/fact.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/text.h"

#define SSID_MAX 32

struct text_fact text_fact_none(void)
{
	return (struct text_fact){};
}

struct text_fact text_fact_unknown(void)
{
	return (struct text_fact){.fact = FACT_UNKNOWN};
}

struct text_fact text_fact_of(const char *value)
{
	struct text_fact fact = {};
	if (!value || !value[0])
		return fact;
	fact.fact = FACT_KNOWN;
	snprintf(fact.value, sizeof fact.value, "%s", value);
	return fact;
}

bool text_fact_equal(const struct text_fact *a, const struct text_fact *b)
{
	return a->fact == b->fact && strcmp(a->value, b->value) == 0;
}

/* C0, DEL and C1 are not for terminals; the backslash begins an escape. */
static bool is_printable(const uint8_t *bytes, size_t length)
{
	if (length == 1)
		return bytes[0] >= 0x20 && bytes[0] != 0x7f && bytes[0] != '\\';
	return length > 1 && !(bytes[0] == 0xc2 && bytes[1] < 0xa0);
}

struct text_fact ssid_fact(const void *bytes, size_t length)
{
	struct text_fact fact = {};
	const uint8_t *next = bytes;
	char *out = fact.value;
	if (length > SSID_MAX)
		return fact;
	while (length > 0) {
		size_t taken = utf8_sequence(next, length);
		if (is_printable(next, taken)) {
			memcpy(out, next, taken);
			out += taken;
		} else {
			taken = 1;
			out += sprintf(out, "\\x%02x", *next);
		}
		next += taken;
		length -= taken;
	}
	fact.fact = fact.value[0] ? FACT_KNOWN : FACT_NONE;
	return fact;
}

struct text_fact bssid_fact(const unsigned char bytes[6])
{
	struct text_fact fact = {.fact = FACT_KNOWN};
	snprintf(fact.value, sizeof fact.value, "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]);
	return fact;
}

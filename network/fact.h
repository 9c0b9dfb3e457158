/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is known of the network, with the two ways of not knowing kept apart: UNKNOWN, a source that exists did not answer; NONE,
 * there is no such thing (no NetworkManager, no Wi-Fi).
 */

#include <stdbool.h>
#include <stddef.h>

#define FACT_TEXT_MAX 132 /* an SSID of 32 bytes, each of them escaped */

enum fact { FACT_NONE, FACT_UNKNOWN, FACT_KNOWN };

struct text_fact {
	enum fact fact;
	char value[FACT_TEXT_MAX]; /* "" unless KNOWN */
};

struct truth_fact {
	enum fact fact;
	bool value;
};

struct text_fact text_fact_none(void);
struct text_fact text_fact_unknown(void);
struct text_fact text_fact_of(const char *value); /* NULL and "": NONE */
bool text_fact_equal(const struct text_fact *a, const struct text_fact *b);

/*
 * An SSID is up to 32 bytes of anything (IEEE 802.11, 9.4.2.2). What is UTF-8 and printable stands as it is, every other byte and
 * the backslash as \xNN. An empty one, or one that is too long to be one, is NONE: the network hides its name.
 */
struct text_fact ssid_fact(const void *bytes, size_t length);
/* "0a:1b:2c:3d:4e:5f" from six bytes. */
struct text_fact bssid_fact(const unsigned char bytes[6]);

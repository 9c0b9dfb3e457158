/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Keys as text: base64 (RFC 4648, section 4) of exactly 32 bytes, so 43 digits and one "=". Secret keys pass here: no table lookups. */

#include "network/wireguard.h"

#include <errno.h>
#include <string.h>

#include "util/text.h"

#define KEY_DIGITS 43

/* All ones where LOW <= C <= HIGH, else 0, without a branch or a table that would tell C by its timing. */
static int between(int c, int low, int high)
{
	return -(int)((unsigned)((low - 1 - c) & (c - high - 1)) >> 31);
}

/* The six bits of a digit; negative for what is none. */
static int digit_value(int c)
{
	return -1 + (between(c, 'A', 'Z') & (c - 'A' + 1)) + (between(c, 'a', 'z') & (c - 'a' + 27)) +
	       (between(c, '0', '9') & (c - '0' + 53)) + (between(c, '+', '+') & 63) + (between(c, '/', '/') & 64);
}

static char digit_for(int value)
{
	return (char)((between(value, 0, 25) & (value + 'A')) + (between(value, 26, 51) & (value - 26 + 'a')) +
		      (between(value, 52, 61) & (value - 52 + '0')) + (between(value, 62, 62) & '+') + (between(value, 63, 63) & '/'));
}

int wireguard_key_parse(const char *text, uint8_t ret[WIREGUARD_KEY_SIZE])
{
	uint8_t key[WIREGUARD_KEY_SIZE + 1] = {}; /* 43 digits hold two bits more than 32 bytes */
	int bad = 0;
	if (strlen(text) != KEY_DIGITS + 1 || text[KEY_DIGITS] != '=')
		return -EINVAL;
	for (unsigned i = 0; i < KEY_DIGITS; i++) {
		int value = digit_value((unsigned char)text[i]);
		unsigned bit = i * 6, byte = bit / 8;
		bad |= value;
		unsigned shifted = ((unsigned)value & 63) << (10 - bit % 8);
		key[byte] |= (uint8_t)(shifted >> 8);
		key[byte + 1] |= (uint8_t)shifted;
	}
	bool good = bad >= 0 && key[WIREGUARD_KEY_SIZE] == 0; /* the two bits must be nought, or a key had four spellings */
	if (good)
		memcpy(ret, key, WIREGUARD_KEY_SIZE);
	wipe(key, sizeof key);
	return good ? 0 : -EINVAL;
}

const char *wireguard_key_format(char buffer[WIREGUARD_KEY_TEXT_MAX], const uint8_t key[WIREGUARD_KEY_SIZE])
{
	for (unsigned i = 0; i < KEY_DIGITS; i++) {
		unsigned bit = i * 6, byte = bit / 8;
		unsigned pair = (unsigned)key[byte] << 8 | (byte + 1 < WIREGUARD_KEY_SIZE ? key[byte + 1] : 0);
		buffer[i] = digit_for((int)(pair >> (10 - bit % 8)) & 63);
	}
	buffer[KEY_DIGITS] = '=';
	buffer[KEY_DIGITS + 1] = 0;
	return buffer;
}

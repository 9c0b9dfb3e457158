/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What an openvpn client says on its management interface, in reads of any length: lines, reasons, what a server pushes. */

#include <string.h>

#include "tunnel/network-check.h"
#include "tunnel/openvpn-auth.h"
#include "tunnel/openvpn-network.h"
#include "tunnel/openvpn-reason.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(char *text, struct openvpn_reason *reason, struct tunnel_network *network)
{
	struct openvpn_line line = openvpn_line_parse(text);
	char sentence[WORKER_DETAIL_MAX];
	bool up = strlen(text) % 2;
	(void)openvpn_reason_note(reason, &line, up);
	struct openvpn_challenge challenge;
	if (line.kind == OPENVPN_LINE_PASSWORD_FAILED)
		(void)openvpn_challenge_read(&challenge, line.text);
	struct openvpn_auth auth = {};
	if (line.kind == OPENVPN_LINE_PASSWORD_NEEDED)
		(void)openvpn_auth_need(&auth, line.name, line.text);
	if (line.kind == OPENVPN_LINE_STATE)
		(void)openvpn_reason_of_state(reason, line.name, line.text, up, sentence);
	if (line.kind == OPENVPN_LINE_VARIABLE)
		(void)openvpn_network_read(network, line.name, line.text, sentence);
	(void)tunnel_network_valid(network, sentence);
}

/* The first byte says how much comes with each read. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct openvpn_reader reader;
	struct openvpn_reason reason = {};
	struct tunnel_network network = {};
	size_t step = size ? (size_t)data[0] * 64 + 1 : 1;
	reader = (struct openvpn_reader){};
	for (size_t at = 1, room_size; at < size;) {
		char *room = openvpn_reader_room(&reader, &room_size);
		size_t count = MIN_OF(MIN_OF(step, room_size), size - at);
		memcpy(room, data + at, count);
		openvpn_reader_add(&reader, count);
		for (char *line; (line = openvpn_reader_next(&reader));)
			take(line, &reason, &network);
		at += count;
	}
	return 0;
}

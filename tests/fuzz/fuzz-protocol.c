/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Packets between daemon and worker, and answers of wireguard-go. What is taken must come back the same when it is sent
 * on. */

#include <stdlib.h>
#include <string.h>

#include "tunnel/protocol.h"
#include "tunnel/wireguard-uapi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wireguard_answer answer;
	struct worker_message message, again;
	(void)wireguard_uapi_parse((const char *)data, size, &answer);
	if (worker_message_decode((const char *)data, size, &message) < 0)
		return 0;
	char *text = worker_message_encode(&message);
	if (worker_message_decode(text, strlen(text), &again) < 0) {
		/* Writing may lengthen what was read ("\u0000" in a document is one byte): that alone is no
		 * disagreement. */
		if (strlen(text) <= WORKER_MESSAGE_MAX)
			abort();
	} else {
		char *second = worker_message_encode(&again);
		if (strcmp(text, second) != 0)
			abort();
		free(second);
		worker_message_done(&again);
	}
	free(text);
	worker_message_done(&message);
	return 0;
}

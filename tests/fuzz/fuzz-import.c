/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files to import. What an import yields must be a document that is taken. */

#include <stdlib.h>

#include "tunnel/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct problems problems = PROBLEMS_NULL;
	json_object *document = NULL;
	if (tunnel_import((const char *)data, size, "home", &document, &problems) == 0) {
		struct tunnel_config *config = NULL;
		struct problems second = PROBLEMS_NULL;
		if (tunnel_config_parse(document, NULL, &config, &second) < 0)
			abort();
		json_object *shown = tunnel_config_to_json(config);
		json_object_put(shown);
		tunnel_config_free(config);
		problems_done(&second);
	}
	json_object_put(document);
	problems_done(&problems);
	return 0;
}

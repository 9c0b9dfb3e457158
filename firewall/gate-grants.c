/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is granted, as it must stand in the kernel. What a document lists is kept apart from what comes and goes at run time, so that
 * a change of one costs the same beside a hundred thousand of the others.
 */

#include <errno.h>
#include <string.h>

#include "firewall/gate-private.h"
#include "firewall/grants.h"

static void list_add(struct grant_list *list, const struct gate_grant *grant)
{
	if (list->count == list->allocated) {
		list->allocated = MAX_OF((size_t)16, list->allocated * 2);
		list->items = xrealloc(list->items, list->allocated * sizeof *list->items);
	}
	list->items[list->count++] = *grant;
}

static struct gate_grant *list_find(const struct grant_list *list, const struct gate_grant *grant)
{
	for (size_t i = 0; i < list->count; i++)
		if (grant_same(&list->items[i], grant))
			return &list->items[i];
	return NULL;
}

void grant_list_done(struct grant_list *list)
{
	free(list->items);
	*list = (struct grant_list){};
}

/* An interval set takes no overlaps, and refuses all that comes with one. */
static bool overlaps(const struct grant_list *list, const struct gate_grant *grant)
{
	for (size_t i = 0; grant->kind == GRANT_NETWORK && i < list->count; i++) {
		const struct gate_grant *other = &list->items[i];
		if (other->kind == GRANT_NETWORK && (ip_prefix_contains(&other->network, &grant->network.address) ||
							    ip_prefix_contains(&grant->network, &other->network.address)))
			return true;
	}
	return false;
}

void gate_set_grants(struct gate *gate, const struct gate_grant *grants, size_t count)
{
	gate->granted.count = 0;
	for (size_t i = 0; i < count; i++)
		if (grant_is_good(&grants[i]) && !overlaps(&gate->granted, &grants[i]))
			list_add(&gate->granted, &grants[i]);
	gate->granted_known = false;
}

static bool listed_already(const struct gate *gate, const struct ip_prefix *networks, size_t count)
{
	if (count != gate->listed_count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!ip_prefix_equal(&networks[i], &gate->listed[i]))
			return false;
	return true;
}

void gate_set_listed(struct gate *gate, const struct ip_prefix *networks, size_t count)
{
	struct ip_prefix *merged = xcalloc(count + 1, sizeof *merged);
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (networks[i].length > 0 && (networks[i].address.family == AF_INET || networks[i].address.family == AF_INET6))
			merged[kept++] = ip_prefix_mask(networks[i]);
	kept = ip_prefixes_merge(merged, kept);
	if (listed_already(gate, merged, kept)) {
		free(merged);
		return;
	}
	free(gate->listed);
	gate->listed = merged;
	gate->listed_count = kept;
	gate->listed_known = false;
}

void gate_fill(const struct gate *gate, struct elements *elements)
{
	uint64_t now = monotonic_usec();
	if (!gate->listed_known)
		elements_list_networks(elements, gate->listed, gate->listed_count);
	if (gate->granted_known)
		return;
	elements_flush_granted(elements);
	for (size_t i = 0; i < gate->granted.count; i++)
		elements_add_grant(elements, &gate->granted.items[i], now);
}

static bool table_stands(const struct gate *gate)
{
	return gate->applied && gate->plan.exists;
}

int gate_add_grant(struct gate *gate, const struct gate_grant *grant)
{
	uint64_t now = monotonic_usec();
	if (!grant_is_good(grant) || grant->until_usec < now + USEC_PER_MSEC)
		return gate_fail(gate, -EINVAL, "such a grant cannot be made");
	struct gate_grant *known = list_find(&gate->granted, grant);
	if (table_stands(gate) && gate->granted_known) {
		_cleanup_elements_ struct elements elements = {};
		if (known) /* to add it would leave its end as it is */
			elements_remove_grant(&elements, grant);
		elements_add_grant(&elements, grant, now);
		int r = gate_commit_elements(gate, &elements);
		if (r < 0)
			return r;
	}
	if (known)
		*known = *grant;
	else
		list_add(&gate->granted, grant);
	return 0;
}

int gate_flush_names(struct gate *gate)
{
	_cleanup_elements_ struct elements elements = {};
	if (!table_stands(gate))
		return 0;
	elements_flush(&elements, SET_NAMES4);
	elements_flush(&elements, SET_NAMES6);
	int r = gate_commit_elements(gate, &elements);
	return r < 0 ? r : gate_end_flows(gate);
}

int gate_remove_grant(struct gate *gate, const struct gate_grant *grant)
{
	struct gate_grant *known = list_find(&gate->granted, grant);
	if (!known)
		return gate_end_flows(gate); /* what could not be done last time */
	if (table_stands(gate) && gate->granted_known) {
		_cleanup_elements_ struct elements elements = {};
		elements_remove_grant(&elements, grant);
		int r = gate_commit_elements(gate, &elements);
		if (r < 0)
			return r;
	}
	*known = gate->granted.items[--gate->granted.count];
	return gate_end_flows(gate);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Looks whether what is mapped is as parents in C expect it: a list, and an interval tree.
 */

#include <linux/rbtree_augmented.h>
#include <linux/vhost_iotlb.h>

#include "parent.h"

static struct vhost_iotlb_map *map_of(struct rb_node *node)
{
	return rb_entry_safe(node, struct vhost_iotlb_map, rb);
}

/* The black nodes from here up to the root. */
static unsigned int black_above(const struct rb_node *node)
{
	unsigned int black = 0;

	for (; node; node = rb_parent(node))
		black += rb_is_black(node);
	return black;
}

static const char *fault_at(struct vhost_iotlb_map *map, const struct rb_root *root)
{
	struct rb_node *node = &map->rb, *children[] = { node->rb_left, node->rb_right };
	u64 last = map->last;
	int i;

	for (i = 0; i < ARRAY_SIZE(children); i++) {
		struct vhost_iotlb_map *child = map_of(children[i]);

		if (!child)
			continue;
		last = max(last, child->__subtree_last);
		if (rb_parent(&child->rb) != node)
			return "parent";
		if (rb_is_red(node) && rb_is_red(&child->rb))
			return "red";
	}
	if (map->__subtree_last != last)
		return "subtree";
	if (!rb_parent(node) && (root->rb_node != node || rb_is_red(node)))
		return "root";
	if (map->last < map->start || map->size != map->last - map->start + 1)
		return "size";
	return NULL;
}

/* One word on what is wrong, or NULL. */
const char *tp_iotlb_fault(struct vhost_iotlb *iotlb)
{
	const struct rb_root *root = &iotlb->root.rb_root;
	struct vhost_iotlb_map *map, *before = NULL;
	unsigned int count = 0, listed = 0, black = 0;
	struct rb_node *node;

	if (rb_first_cached(&iotlb->root) != rb_first(root))
		return "first";
	for (node = rb_first(root); node; node = rb_next(node)) {
		const char *fault;

		map = map_of(node);
		fault = fault_at(map, root);
		if (fault)
			return fault;
		if (before && before->last >= map->start)
			return "order";
		before = map;
		if (!node->rb_left || !node->rb_right) {
			if (black && black_above(node) != black)
				return "black";
			black = black_above(node);
		}
		count++;
	}
	/* The list of one that is empty may never have been initialised. */
	if (!count && !iotlb->nmaps)
		return NULL;
	list_for_each_entry(map, &iotlb->list, link) {
		if (map->link.next->prev != &map->link)
			return "list";
		listed++;
	}
	return count != iotlb->nmaps || listed != count ? "count" : NULL;
}

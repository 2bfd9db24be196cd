/*
 * min_tree.c: a search tree whose nodes carry a time, and know the least one below them.
 */
#include "postgres.h"

#include "common/pg_prng.h"

#include "base/compat.h"
#include "base/min_tree.h"

static TimestampTz
least_of(const MinNode *node)
{
	TimestampTz least = Min(min_tree_least(node->left), min_tree_least(node->right));

	return Min(least, node->time);
}

/* Recomputes what the node and those above it know, as far as it changes. */
static void
climb(MinNode *node)
{
	for (; node != NULL; node = node->parent)
	{
		TimestampTz least = least_of(node);

		if (node->least == least)
			break;
		node->least = least;
	}
}

/* Puts a node, or none, into the place of another one. */
static void
replace(MinNode **root, MinNode *node, MinNode *by)
{
	if (node->parent == NULL)
		*root = by;
	else if (node->parent->left == node)
		node->parent->left = by;
	else
		node->parent->right = by;
	if (by != NULL)
		by->parent = node->parent;
}

/* The node takes the place of its parent. */
static void
rotate_up(MinNode **root, MinNode *node)
{
	MinNode *parent = node->parent;
	MinNode **from = parent->left == node ? &parent->left : &parent->right;
	MinNode **to = parent->left == node ? &node->right : &node->left;

	replace(root, parent, node);
	*from = *to;
	if (*to != NULL)
		(*to)->parent = parent;
	*to = parent;
	parent->parent = node;
	parent->least = least_of(parent);
	node->least = least_of(node);
}

void
min_tree_insert(MinNode **root, MinNode *node, const void *key, MinOrder order)
{
	MinNode **place = root;
	MinNode *parent = NULL;

	while (*place != NULL)
	{
		parent = *place;
		place = order(key, parent) < 0 ? &parent->left : &parent->right;
	}
	*place = node;
	node->parent = parent;
	node->left = node->right = NULL;
	node->weight = pg_prng_uint32(&pg_global_prng_state);
	node->least = node->time;
	climb(parent);
	while (node->parent != NULL && node->parent->weight < node->weight)
		rotate_up(root, node);
}

void
min_tree_remove(MinNode **root, MinNode *node)
{
	while (node->left != NULL && node->right != NULL)
		rotate_up(root, node->left->weight > node->right->weight ? node->left : node->right);
	replace(root, node, node->left != NULL ? node->left : node->right);
	climb(node->parent);
}

void
min_tree_set(MinNode *node, TimestampTz time)
{
	node->time = time;
	climb(node);
}

MinNode *
min_tree_find(MinNode *root, const void *key, MinOrder order)
{
	while (root != NULL)
	{
		int difference = order(key, root);

		if (difference == 0)
			break;
		root = difference < 0 ? root->left : root->right;
	}
	return root;
}

/* The first node of a tree; the least one of it is not later. */
static MinNode *
first(MinNode *node, TimestampTz until)
{
	for (;;)
	{
		if (min_tree_least(node->left) <= until)
			node = node->left;
		else if (node->time <= until)
			return node;
		else
			node = node->right;
	}
}

MinNode *
min_tree_next(MinNode *root, const void *key, MinOrder order, TimestampTz until)
{
	MinNode *turned = NULL; /* the deepest one on the way that has an answer and lies behind */

	/* down to where the key is, or would be */
	while (root != NULL && root->least <= until)
	{
		if (order(key, root) < 0)
		{
			if (root->time <= until || min_tree_least(root->right) <= until)
				turned = root;
			root = root->left;
		}
		else
			root = root->right;
	}
	if (turned == NULL || turned->time <= until)
		return turned;
	return first(turned->right, until);
}

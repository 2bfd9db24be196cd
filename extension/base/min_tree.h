/*
 * min_tree.h: a search tree whose nodes carry a time, and know the least one below them.
 *
 * So the next node in order whose time has come is found in logarithmic time, however many
 * others lie before it. The nodes stand in structures of the caller, may lie in shared memory,
 * and are never allocated here. (A treap: Seidel and Aragon, Randomized search trees, 1996.)
 */
#ifndef HAUL_MIN_TREE_H
#define HAUL_MIN_TREE_H

#include "postgres.h"

#include "utils/timestamp.h"

typedef struct MinNode
{
	struct MinNode *left;
	struct MinNode *right;
	struct MinNode *parent;
	uint32 weight; /* no node is heavier than its parent */
	TimestampTz time;
	TimestampTz least; /* of the node and all below it */
} MinNode;

/* Where a key stands beside the node, as of qsort(). */
typedef int (*MinOrder)(const void *key, const MinNode *node);

/* Inserts a node, whose time must be set, at its key, which no other has. */
extern void min_tree_insert(MinNode **root, MinNode *node, const void *key, MinOrder order);
extern void min_tree_remove(MinNode **root, MinNode *node);
extern void min_tree_set(MinNode *node, TimestampTz time);

/* The node at the key. */
extern MinNode *min_tree_find(MinNode *root, const void *key, MinOrder order);

/* The first node behind the key whose time is not later than until. */
extern MinNode *min_tree_next(MinNode *root, const void *key, MinOrder order, TimestampTz until);

/* The least time of all; DT_NOEND when the tree is empty. */
static inline TimestampTz
min_tree_least(const MinNode *root)
{
	return root != NULL ? root->least : DT_NOEND;
}

#endif

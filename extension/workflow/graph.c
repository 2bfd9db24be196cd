/*
 * graph.c: an order in which everything comes after what it waits for.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/compat.h"

/* Vertices are numbered from 0. The edges that leave vertex v are those from first[v] on, before
 * first[v + 1], of heads. */
typedef struct Graph
{
	int vertices;
	int *first;
	int *heads;
	int *indegree;
} Graph;

static Graph
read_graph(int vertices, Datum *tails, Datum *heads, int edges)
{
	Graph graph = {.vertices = vertices,
				   .first = palloc0((vertices + 2) * sizeof(int)),
				   .heads = palloc((edges + 1) * sizeof(int)),
				   .indegree = palloc0((vertices + 1) * sizeof(int))};

	/* a counting sort by the tails */
	for (int i = 0; i < edges; i++)
	{
		int tail = DatumGetInt32(tails[i]) - 1;
		int head = DatumGetInt32(heads[i]) - 1;

		if (tail < 0 || tail >= vertices || head < 0 || head >= vertices)
			elog(ERROR, "edge %d leads from %d to %d, but there are %d vertices", i, tail + 1,
				 head + 1, vertices);
		graph.first[tail + 2]++;
		graph.indegree[head]++;
	}
	for (int v = 1; v <= vertices; v++)
		graph.first[v + 1] += graph.first[v];
	for (int i = 0; i < edges; i++)
		graph.heads[graph.first[DatumGetInt32(tails[i])]++] = DatumGetInt32(heads[i]) - 1;
	return graph;
}

/* Kahn's algorithm ("Topological sorting of large networks", 1962): returns how many vertices it
 * could order; those that are left stand on cycles, or behind them. */
static int
sort_topologically(const Graph *graph, int *order)
{
	int *missing = palloc((graph->vertices + 1) * sizeof(int));
	int found = 0;

	memcpy(missing, graph->indegree, graph->vertices * sizeof(int));
	for (int v = 0; v < graph->vertices; v++)
		if (missing[v] == 0)
			order[found++] = v;
	for (int done = 0; done < found; done++)
		for (int e = graph->first[order[done]]; e < graph->first[order[done] + 1]; e++)
			if (--missing[graph->heads[e]] == 0)
				order[found++] = graph->heads[e];
	/* so that the caller sees which are left */
	memcpy(graph->indegree, missing, graph->vertices * sizeof(int));
	return found;
}

/* For each vertex that could not be ordered one of its predecessors that could not be. */
static int *
unordered_predecessors(const Graph *graph)
{
	int *before = palloc((graph->vertices + 1) * sizeof(int));

	for (int v = 0; v < graph->vertices; v++)
		for (int e = graph->first[v]; graph->indegree[v] > 0 && e < graph->first[v + 1]; e++)
			before[graph->heads[e]] = v;
	return before;
}

#define LONGEST_SHOWN 10

/* Walks back from any vertex that is left until one comes again: the walk from there is a cycle. */
static void
refuse_cycle(const Graph *graph, Datum *names)
{
	int *came_at = palloc0((graph->vertices + 1) * sizeof(int)); /* 0: not yet */
	int *walk = palloc((graph->vertices + 2) * sizeof(int));
	int *before = unordered_predecessors(graph);
	int length = 0;
	int vertex = 0;
	int start;
	StringInfoData cycle;

	while (graph->indegree[vertex] == 0)
		vertex++;
	while (came_at[vertex] == 0)
	{
		walk[length++] = vertex;
		came_at[vertex] = length;
		vertex = before[vertex];
	}
	start = came_at[vertex] - 1;

	initStringInfo(&cycle);
	appendStringInfo(&cycle, "\"%s\"", TextDatumGetCString(names[vertex]));
	for (int i = start + 1; i < length && i - start < LONGEST_SHOWN; i++)
		appendStringInfo(&cycle, " after \"%s\"", TextDatumGetCString(names[walk[i]]));
	if (length - start > LONGEST_SHOWN)
		appendStringInfoString(&cycle, " after …");
	appendStringInfo(&cycle, " after \"%s\"", TextDatumGetCString(names[vertex]));
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the jobs depend on each other in a cycle: %s", cycle.data),
					errhint("Remove one of these dependencies.")));
}

PG_FUNCTION_INFO_V1(haul_topological_order);

/* haul._topological_order(names text[], tails integer[], heads integer[]): numbers of the vertices,
 * from 1. */
Datum
haul_topological_order(PG_FUNCTION_ARGS)
{
	Datum *names;
	Datum *tails;
	Datum *heads;
	Datum *numbers;
	int vertices;
	int edges;
	int nheads;
	int *order;
	Graph graph;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &names, NULL,
					  &vertices);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), INT4OID, 4, true, TYPALIGN_INT, &tails, NULL,
					  &edges);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), INT4OID, 4, true, TYPALIGN_INT, &heads, NULL,
					  &nheads);
	if (edges != nheads)
		elog(ERROR, "%d edges have a tail, but %d a head", edges, nheads);
	graph = read_graph(vertices, tails, heads, edges);
	order = palloc((vertices + 1) * sizeof(int));
	if (sort_topologically(&graph, order) < vertices)
		refuse_cycle(&graph, names);
	numbers = palloc((vertices + 1) * sizeof(Datum));
	for (int i = 0; i < vertices; i++)
		numbers[i] = Int32GetDatum(order[i] + 1);
	PG_RETURN_ARRAYTYPE_P(construct_array(numbers, vertices, INT4OID, 4, true, TYPALIGN_INT));
}

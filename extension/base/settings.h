/*
 * settings.h: configuration parameters (haul.*).
 */
#ifndef HAUL_SETTINGS_H
#define HAUL_SETTINGS_H

/* The most that haul.max_args_size can be set to, in bytes. With values of this length a job can
 * still be sent to a client and put into a JSON array; with ones of a gigabyte it cannot. */
#define LONGEST_VALUE (32 * 1024 * 1024)

extern char *haul_backoff;		   /* of jobs and kinds that have none */
extern double haul_backoff_jitter; /* fraction by which each delay varies */
extern int haul_max_interruptions; /* deaths of a worker held against a job */
extern int haul_max_args_size;	   /* bytes, as text */
extern int haul_worker_timeout;	   /* seconds */
extern int haul_lost_timeout;	   /* seconds */
extern int haul_keep_completed;	   /* seconds */
extern int haul_keep_failed;	   /* seconds */
extern int haul_keep_errors;	   /* seconds */
extern int haul_keep_cron_runs;	   /* seconds */
extern int haul_keep_workflows;	   /* seconds */
extern int haul_keep_replies;	   /* seconds */
extern int haul_misfire_grace;	   /* seconds */
extern int haul_max_commands;	   /* at once, in a database */
extern char *haul_enqueuer;		   /* role that jobs are enqueued for; "": the current user */
extern bool haul_one_by_one;	   /* set by maintenance: see calls/call.h */

/* of the background workers */
extern char *haul_databases; /* names, or "*" */
extern int haul_max_lanes;
extern int haul_max_queues;
extern int haul_max_lanes_per_queue;  /* in shared memory */
extern int haul_sweep_interval;		  /* seconds, for one lane */
extern double haul_sweep_load;		  /* fraction of a core */
extern int haul_maintenance_interval; /* seconds */
extern int haul_reconnect_grace;	  /* milliseconds */

extern void haul_settings_define(void);

#endif

// graphile-worker, as it comes or as its documentation tunes it for throughput.
'use strict';

const { setTimeout } = require('timers/promises');
const { Logger, run, runMigrations } = require('graphile-worker');
const { Pool } = require('pg');
const command = require('./command');
const { Progress } = require('./progress');

const TUNED = { concurrentJobs: 24, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const CONNECTIONS = TUNED.concurrentJobs + 1;
const HELD = 'SELECT FROM graphile_worker._private_jobs WHERE locked_at IS NOT NULL LIMIT 1';
const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message);
});

const fail = (error) => {
  console.error(error.message);
  process.exit(1);
};

// Runs tasks until what `begun` returns is resolved, and until their completions are in the database: stop() can be
// over before the last one is, and a pool of the worker's own would be closed by then.
async function work(options, taskList, begun) {
  const pgPool = new Pool({ max: CONNECTIONS });
  pgPool.on('error', fail);
  pgPool.on('connect', (client) => client.on('error', fail));
  const runner = await run({ preset: { worker: { logger, ...options } }, pgPool, noHandleSignals: true, taskList });
  await begun();
  await runner.stop();
  while ((await pgPool.query(HELD)).rowCount > 0) await setTimeout(10);
  await pgPool.end();
}

command({
  prepare: () => runMigrations({ preset: { worker: { logger, connectionString: 'postgres://' } } }),

  async drain({ tuned, ...limit }) {
    const progress = new Progress(limit);
    progress.begin();
    const noop = (payload, { job }) => progress.finished(job.id);
    await work(tuned ? TUNED : {}, { noop }, () => progress.ended);
    progress.close();
  },

  // Prints the number of each job and when its handler began, until standard input ends.
  async stamp() {
    const stamps = [];
    const stamp = ({ n }) => void stamps.push(`${n} ${process.hrtime.bigint()}`);
    await work({}, { stamp }, () => {
      console.log('ready');
      return new Promise((resolve) => process.stdin.on('end', resolve).resume());
    });
    console.log(stamps.join('\n'));
  },
});

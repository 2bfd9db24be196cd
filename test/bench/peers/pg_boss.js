// pg-boss: loops that fetch and complete batches. What completes stays in its table, as history.
'use strict';

const { PgBoss } = require('pg-boss');
const command = require('./command');
const { Progress } = require('./progress');

const QUEUE = 'bench';
const LOOPS = 4;
const BATCH = 1000;

async function start() {
  const boss = new PgBoss({ connectionString: 'postgres://', supervise: false, schedule: false });
  boss.on('error', (error) => console.error(error.message));
  return boss.start();
}

command({
  async prepare() {
    const boss = await start();
    await boss.createQueue(QUEUE);
    await boss.stop({ graceful: false });
  },

  async drain(limit) {
    const boss = await start();
    const progress = new Progress(limit);
    let over = false;
    progress.ended.then(() => (over = true));
    progress.begin();
    await Promise.all(Array.from({ length: LOOPS }, async () => {
      while (!over) {
        const jobs = await boss.fetch(QUEUE, { batchSize: BATCH });
        if (jobs.length === 0) break;
        await boss.complete(QUEUE, jobs.map((job) => job.id));
        for (const job of jobs) progress.finished(job.id);
      }
    }));
    progress.close();
    await boss.stop({ graceful: false });
  },
});

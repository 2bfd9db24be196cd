// Counts jobs while they run and prints a line of JSON ten times a second: {"at": seconds, "finished": jobs}. A job
// that runs twice ends the program.
'use strict';

const INTERVAL = 100;

class Progress {
  // limit: {jobs} or {seconds}, after which `ended` is resolved
  constructor(limit) {
    this.limit = limit;
    this.seen = new Set();
    this.ended = new Promise((resolve) => (this.end = resolve));
  }

  begin() {
    this.started = process.hrtime.bigint();
    this.timer = setInterval(() => this.print(), INTERVAL);
    if (this.limit.seconds) setTimeout(this.end, this.limit.seconds * 1000).unref();
  }

  finished(id) {
    if (this.seen.has(id)) {
      console.error(`job ${id} ran twice`);
      process.exit(1);
    }
    this.seen.add(id);
    if (this.seen.size === this.limit.jobs) this.end();
  }

  print() {
    const at = Number(process.hrtime.bigint() - this.started) / 1e9;
    process.stdout.write(JSON.stringify({ at, finished: this.seen.size }) + '\n');
  }

  // To be called when everything is in the database.
  close() {
    clearInterval(this.timer);
    this.print();
  }
}

module.exports = { Progress };

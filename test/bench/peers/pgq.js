// PgQ: one consumer that reads batches of events and finishes each as a whole.
'use strict';

const { Client } = require('pg');
const command = require('./command');
const { Progress } = require('./progress');

command({
  async drain(limit) {
    const client = new Client();
    await client.connect();
    const value = async (text, values) => Object.values((await client.query(text, values)).rows[0])[0];
    const progress = new Progress(limit);
    let over = false;
    progress.ended.then(() => (over = true));
    progress.begin();
    while (!over) {
      const batch = await value("SELECT pgq.next_batch('bench', 'worker')");
      if (batch === null) break;
      const { rows } = await client.query('SELECT ev_id, ev_type, ev_data FROM pgq.get_batch_events($1)', [batch]);
      await value('SELECT pgq.finish_batch($1)', [batch]);
      for (const event of rows) progress.finished(event.ev_id);
    }
    progress.close();
    await client.end();
  },
});

// Queues of Node, each in its documented best configuration:
//
//     jobs.mjs KIND prepare
//     jobs.mjs KIND work CONCURRENCY            until it is killed
//     jobs.mjs KIND add JOBS CONCURRENCY SIZE   prints when it began
//     jobs.mjs KIND wait JOBS                   prints when the last one ended
//     jobs.mjs KIND count                       how many ended, and when
//
// Both times are milliseconds since 1970, the second one as the store has it.
// KIND is bullmq, bullmq-pg, graphile or pgboss; REDIS_PORT, REDIS_DB and
// PG_URL are in the environment, and NODE_PACKAGES is the folder of node_modules.  BENCH_MODE
// "default" leaves everything as it comes; with BENCH_NAP a job takes so many
// milliseconds and leaves its number in the file BENCH_NOTE when it begins.

import { appendFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const need = createRequire(process.env.NODE_PACKAGES + '/');
const [kind, what, ...args] = process.argv.slice(2);
const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT),
                     db: Number(process.env.REDIS_DB ?? 0),
                     maxRetriesPerRequest: null };
const url = process.env.PG_URL;
const queue = 'bench';


function pool(max) {
    const { Pool } = need('pg');
    return new Pool({ connectionString: url, max });
}


async function one(db, sql) {
    return (await db.query({ text: sql, rowMode: 'array' })).rows[0];
}


// What a job does: nothing.  Its result is as long as ours is.

const result = { answer: 'zq zq zq zq', citations: [] };
const nap = Number(process.env.BENCH_NAP ?? 0);
const plain = process.env.BENCH_MODE === 'default';

async function noop(...jobs) {
    if (nap) {
        appendFileSync(process.env.BENCH_NOTE,
                       jobs.map((data) => data.n + '\n').join(''));
        await sleep(nap);
    }
    return result;
}

const kinds = {

    bullmq: {
        async work(concurrency) {
            const { Worker } = need('bullmq');
            const worker = new Worker(queue, (job) => noop(job.data),
                                      { connection, concurrency });
            await worker.waitUntilReady();
        },

        async adder() {
            const { Queue } = need('bullmq');
            const q = new Queue(queue, { connection });
            await q.waitUntilReady();
            return { add: (data) => q.add('noop', data),
                     end: () => q.close() };
        },

        async ended() {
            const Redis = need('ioredis');
            const redis = new Redis(connection);
            return async () => {
                const last = await redis.zrevrange(`bull:${queue}:completed`,
                                                   0, 0, 'WITHSCORES');
                return [await redis.zcard(`bull:${queue}:completed`), last[1]];
            };
        },
    },

    'bullmq-pg': {
        async prepare() {
            await pool(1).query('CREATE TABLE IF NOT EXISTS result (job text'
                + ' PRIMARY KEY, body jsonb, at timestamptz NOT NULL'
                + ' DEFAULT clock_timestamp())');
        },

        async work(concurrency) {
            const { Worker } = need('bullmq');
            const db = pool(Math.min(concurrency, 20));
            const worker = new Worker(queue, async (job) => {
                await noop(job.data);
                // again after a lost worker, it is there already
                await db.query({ name: 'store', text: 'INSERT INTO result'
                    + ' (job, body) VALUES ($1, $2) ON CONFLICT DO NOTHING',
                    values: [job.id, result] });
            }, { connection, concurrency });
            await worker.waitUntilReady();
        },

        async adder() { return kinds.bullmq.adder(); },

        async ended() {
            const db = pool(1);
            return () => one(db, 'SELECT count(*),'
                + ' extract(epoch FROM max(at)) * 1000 FROM result');
        },
    },

    graphile: {
        // a finished job leaves its table, so that the result is stored by
        // the task, as its manual has it
        async prepare() {
            await kinds['bullmq-pg'].prepare();
            const { makeWorkerUtils } = need('graphile-worker');
            const utils = await makeWorkerUtils({ connectionString: url });
            await utils.migrate();
            await utils.release();
        },

        async work(concurrency) {
            const { run } = need('graphile-worker');
            await run({ connectionString: url, concurrency,
                ...(plain ? {}
                    : { maxPoolSize: Math.min(concurrency, 20) + 2 }),
                taskList: {
                    noop: async (data, { job, query }) => {
                        await noop(data);
                        await query({ name: 'store', text: 'INSERT INTO'
                            + ' result (job, body) VALUES ($1, $2)'
                            + ' ON CONFLICT DO NOTHING',
                            values: [job.id, result] });
                    },
                } });
        },

        async adder() {
            const { makeWorkerUtils } = need('graphile-worker');
            const utils = await makeWorkerUtils({ pgPool: pool(20) });
            return { add: (data) => utils.addJob('noop', data),
                     end: () => utils.release() };
        },

        async ended() { return kinds['bullmq-pg'].ended(); },
    },

    pgboss: {
        async boss() {
            const Boss = need('pg-boss');
            const boss = new Boss({ connectionString: url, max: 20 });
            boss.on('error', (e) => console.error(e));
            await boss.start();
            return boss;
        },

        async prepare() {
            const boss = await kinds.pgboss.boss();
            await boss.createQueue(queue);
        },

        async work(concurrency) {
            const boss = await kinds.pgboss.boss();
            // half a second is as often as it looks
            await boss.work(queue, plain ? {} : { batchSize: concurrency,
                pollingIntervalSeconds: 0.5 },
                (jobs) => noop(...jobs.map((job) => job.data)));
        },

        async adder() {
            const boss = await kinds.pgboss.boss();
            return { add: (data) => boss.send(queue, data),
                     end: () => boss.stop({ graceful: false }) };
        },

        async ended() {
            const db = pool(1);
            return () => one(db, 'SELECT count(*), extract(epoch FROM'
                + ' max(completed_on)) * 1000 FROM pgboss.job'
                + ` WHERE name = '${queue}' AND state = 'completed'`);
        },
    },
};


async function add(n, concurrency, size) {
    const adder = await kinds[kind].adder();
    const query = 'x'.repeat(size);
    const start = Date.now();
    let left = n;

    await Promise.all(Array.from({ length: concurrency }, async () => {
        while (left-- > 0) {
            await adder.add({ query, n: left });
        }
    }));

    await adder.end();
    console.log(start);
}


async function count() {
    const ended = await kinds[kind].ended();
    console.log((await ended()).map(Number).join(' '));
}


async function wait(n) {
    const ended = await kinds[kind].ended();

    for (;;) {
        const [done, at] = await ended();
        if (Number(done) >= n) {
            console.log(Number(at));
            return;
        }
        await sleep(100);
    }
}


switch (what) {
case 'prepare':
    await kinds[kind].prepare?.();
    process.exit(0);
    break;

case 'work':
    await kinds[kind].work(Number(args[0]));
    console.log('ready');
    break;

case 'add':
    await add(...args.map(Number));
    process.exit(0);
    break;

case 'count':
    await count();
    process.exit(0);
    break;

case 'wait':
    await wait(Number(args[0]));
    process.exit(0);
}

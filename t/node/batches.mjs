// Files and batches: many requests in one file, and the files of the answers.

import { createRequire } from 'node:module';

import { OpenAI, client, is, like, model, ok, sleep, throws } from './tap.mjs';

const { toFile } = createRequire(process.env.TRIFECTA_NODE + '/')('openai');
const openai = client();

function lines(requests, url) {
    return requests.map((body, i) => JSON.stringify({ custom_id: `r-${i}`,
        method: 'POST', url, body: { model, ...body } })).join('\n') + '\n';
}

async function ended(batch) {
    for (let i = 0; i < 600; i++) {
        batch = await openai.batches.retrieve(batch.id);
        if (/^(completed|failed|expired|cancelled)$/.test(batch.status)) break;
        await sleep(100);
    }
    return batch;
}

async function read(id) {
    const text = await (await openai.files.content(id)).text();
    return text.trim().split('\n').map((line) => JSON.parse(line));
}


// files

const text = lines([{ input: 'say=one' }, { input: 'say=two' },
    { input: 'fail=1' }, { input: 'x', model: 'nosuch' }], '/v1/responses');

const file = await openai.files.create({ purpose: 'batch',
    file: await toFile(Buffer.from(text), 'requests.jsonl') });

is([file.object, file.filename, file.purpose, file.status, file.bytes],
    ['file', 'requests.jsonl', 'batch', 'processed', text.length],
    'files.create');
is((await openai.files.retrieve(file.id)).id, file.id, 'files.retrieve');
is(await (await openai.files.content(file.id)).text(), text,
    'files.content is what was sent');

const other = await openai.files.create({ purpose: 'batch',
    file: await toFile(Buffer.from('{}\n'), 'other.jsonl'),
    expires_after: { anchor: 'created_at', seconds: 3600 } });

is(other.expires_at - other.created_at, 3600, 'expires_after');

const names = [];
for await (const f of openai.files.list({ limit: 1, order: 'asc',
    purpose: 'batch' }))
{
    names.push(f.filename);
}
is(names.slice(-2), ['requests.jsonl', 'other.jsonl'],
    'files.list goes through all pages');
is((await openai.files.delete(other.id)).deleted, true, 'files.delete');

const gone = await throws(() => openai.files.retrieve(other.id),
    OpenAI.NotFoundError, 'it is gone');
is(gone.status, 404, 'as if it had not been');


// a batch

let batch = await openai.batches.create({ input_file_id: file.id,
    endpoint: '/v1/responses', completion_window: '24h',
    metadata: { a: 'b' } });

like(batch.id, /^batch_/, 'batches.create');
is(batch.metadata, { a: 'b' }, 'metadata');

batch = await ended(batch);

is(batch.status, 'completed', 'polled to its end');
is(batch.request_counts, { total: 4, completed: 2, failed: 2 },
    'request_counts');

const output = await read(batch.output_file_id);
const answers = Object.fromEntries(output.map((line) =>
    [line.custom_id, line.response.body]));

is(Object.keys(answers).sort(), ['r-0', 'r-1'],
    'the output has each line with an answer once');
like(answers['r-0'].output.at(-1).content[0].text, / one$/,
    'which is a response');
is(output[0].response.status_code, 200, 'with its status');
is((await openai.responses.retrieve(answers['r-1'].id)).id,
    answers['r-1'].id, 'responses.retrieve knows it, too');

const errors = await read(batch.error_file_id);

is(errors.map((line) => line.custom_id).sort(), ['r-2', 'r-3'],
    'the file of errors has the others');

const found = [];
for await (const b of openai.batches.list({ limit: 1 })) {
    found.push(b.id);
}
is(found[0], batch.id, 'batches.list, the newest first');


// chats and vectors

for (const [endpoint, body] of [
    ['/v1/chat/completions',
     { messages: [{ role: 'user', content: 'say=chat' }] }],
    ['/v1/embeddings', { model: 'small', input: 'x' }],
]) {
    const input = await openai.files.create({ purpose: 'batch',
        file: await toFile(Buffer.from(lines([body], endpoint)), 'x.jsonl') });
    const b = await ended(await openai.batches.create({ endpoint,
        input_file_id: input.id, completion_window: '24h' }));
    is(b.status, 'completed', `a batch of ${endpoint}`);
    const [line] = await read(b.output_file_id);
    ok(line.response.body.choices?.[0].message.content.endsWith(' chat')
        || line.response.body.data?.[0].embedding, '  with its answer', line);
}


// one that is cancelled

const slow = await openai.files.create({ purpose: 'batch', file: await toFile(
    Buffer.from(lines(Array(3).fill({ input: 'sleep=60000' }),
                      '/v1/responses')), 'slow.jsonl') });
batch = await openai.batches.create({ input_file_id: slow.id,
    endpoint: '/v1/responses', completion_window: '24h' });

while ((await openai.batches.retrieve(batch.id)).status === 'validating') {
    await sleep(50);
}

batch = await openai.batches.cancel(batch.id);
like(batch.status, /^cancell(ing|ed)$/, 'batches.cancel');
is((await ended(batch)).status, 'cancelled', 'it is');


// one that is none

const bad = await openai.files.create({ purpose: 'batch',
    file: await toFile(Buffer.from('{"no": "request"}\n'), 'bad.jsonl') });
batch = await ended(await openai.batches.create({ input_file_id: bad.id,
    endpoint: '/v1/responses', completion_window: '24h' }));
is(batch.status, 'failed', 'a file with a mistake is a batch that failed');
is(batch.errors.data[0].line, 1, 'and the line is named');

await throws(() => openai.batches.create({ input_file_id: 'file-none',
    endpoint: '/v1/responses', completion_window: '24h' }),
    OpenAI.NotFoundError, 'a file that is not there');

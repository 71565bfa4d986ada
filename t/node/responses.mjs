// Responses, chat completions and models, as a program asks for them.

import { OpenAI, client, is, like, model, ok, sleep, throws } from './tap.mjs';

const openai = client();


// responses

const r = await openai.responses.create({ model, input: 'say=hello there' });

is(r.status, 'completed', 'responses.create waits for the end');
like(r.output_text, / hello there$/, 'output_text');
is(r.output.map((item) => item.type), ['file_search_call', 'message'],
    'its items');
is((await openai.responses.retrieve(r.id)).output_text, r.output_text,
    'responses.retrieve says the same');

let b = await openai.responses.create({ model, input: 'sleep=300 say=later',
    background: true, metadata: { a: 'b' } });

is(b.status, 'queued', 'background');

while (b.status === 'queued' || b.status === 'in_progress') {
    await sleep(50);
    b = await openai.responses.retrieve(b.id);
}

is(b.status, 'completed', 'polled to its end');
like(b.output_text, / later$/, 'with its text');
is(b.metadata, { a: 'b' }, 'and metadata');

b = await openai.responses.create({ model, input: 'sleep=60000',
    background: true });
b = await openai.responses.cancel(b.id);
like(b.status, /^(cancelled|in_progress)$/, 'responses.cancel');
while (b.status === 'queued' || b.status === 'in_progress') {
    await sleep(50);
    b = await openai.responses.retrieve(b.id);
}
is(b.status, 'cancelled', 'it is');

const next = await openai.responses.create({ model, input: 'say=again',
    previous_response_id: r.id });
is(next.previous_response_id, r.id, 'previous_response_id');

const f = await openai.responses.create({ model, input: 'fail=1' });
is(f.status, 'failed', 'a response that failed is an object');
is(f.error.code, 'server_error', 'with an error');

const many = await openai.responses.create({ model, instructions: 'Be kind.',
    input: [
        { role: 'developer', content: 'one' },
        { role: 'user', content: 'two' },
        { role: 'assistant', content: 'three' },
        { role: 'user', content: [{ type: 'input_text', text: 'say=four' }] },
    ] });
like(many.output_text, / four$/, 'the last message is the question');
is(many.instructions, 'Be kind.', 'instructions');

const texts = [];
for await (const item of openai.responses.inputItems.list(many.id,
    { limit: 3, order: 'asc' }))
{
    texts.push(item.content[0].text);
}
is(texts, ['one', 'two', 'three', 'say=four'],
    'inputItems.list goes through all pages');

await openai.responses.delete(many.id);
const gone = await throws(() => openai.responses.retrieve(many.id),
    OpenAI.APIError, 'responses.delete');
is(gone.status, 410, 'it is gone');


// chat

const c = await openai.chat.completions.create({ model,
    messages: [{ role: 'system', content: 'Be brief.' },
               { role: 'user', content: 'say=chat' }] });

like(c.choices[0].message.content, / chat$/, 'chat.completions.create');
is(c.choices[0].finish_reason, 'stop', 'finish_reason');
ok(c.usage.total_tokens >= 0, 'usage');


// models

const names = [];
for await (const m of openai.models.list()) {
    names.push(m.id);
}
is(names, ['extractive', 'test', 'caller'], 'models.list');
is((await openai.models.retrieve('test')).id, 'test', 'models.retrieve');


// embeddings

for (const encoding_format of [undefined, 'float']) {
    const e = await openai.embeddings.create({ model: 'small',
        input: ['one', 'two'], encoding_format });
    is(e.data.map((d) => Array.from(d.embedding, (x) => x.toFixed(5))),
        Array(2).fill(['0.60000', '0.80000', '0.00000', '0.00000']),
        'embeddings.create' + (encoding_format ? ' as numbers' : ''));
}


// request ids

const { response, request_id } = await openai.models.list().withResponse();
is(response.status, 200, 'withResponse');
like(request_id, /^req_[0-9a-f]{32}$/, 'has the id of the request');

// Streams, as a program reads them: all at once, event by event, left and
// taken up again, and those that go wrong.

import { OpenAI, client, is, like, model, ok, throws } from './tap.mjs';

const openai = client();
const input = 'every=60 stream=one | two| three | four';


// responses

const runner = openai.responses.stream({ model, input });
const seen = [];
let text = '';

for await (const event of runner) {
    seen.push(event);
    if (event.type === 'response.output_text.delta') {
        text += event.delta;
    }
}

const final = await runner.finalResponse();

is(final.status, 'completed', 'responses.stream comes to its end');
is(final.output_text, text, 'with the text of its deltas');
is(seen.map((event) => event.sequence_number),
    seen.map((event, i) => i), 'numbered from 0');
is((await openai.responses.retrieve(final.id)).output_text, text,
    'which is what is stored');

const raw = [];
for await (const event of await openai.responses.create(
    { model, input, stream: true }))
{
    raw.push(event.type);
}
is(raw.at(-1), 'response.completed', 'create with stream, event by event');


// taken up again

const stream = await openai.responses.create({ model, input,
    background: true, stream: true });
const head = [];

for await (const event of stream) {
    head.push(event);
    if (event.type === 'response.output_text.delta') {
        break;
    }
}

const id = head[0].response.id;
const last = head.at(-1).sequence_number;
const tail = [];

for await (const event of await openai.responses.retrieve(id,
    { stream: true, starting_after: last }))
{
    tail.push(event);
}

is(tail[0].sequence_number, last + 1, 'retrieve with starting_after goes on');
is(tail.at(-1).type, 'response.completed', 'to the end');
is([...head, ...tail].filter((e) => e.type === 'response.output_text.delta')
    .map((e) => e.delta).join(''), tail.at(-1).response.output[1].content[0]
    .text, 'and nothing is missing between them');

const again = openai.responses.stream({ response_id: id,
    starting_after: last });
const rest = [];
for await (const event of again) {
    rest.push(event.sequence_number);
}
is(rest, tail.map((event) => event.sequence_number),
    'responses.stream of an id takes it up again, too');
is((await again.finalResponse()).id, id, 'and knows the whole');


// what goes wrong

const voided = openai.responses.stream({ model,
    input: 'every=60 void=2 stream=one |two |three ' });
let voids = 0;
for await (const event of voided) {
    voids += event.type === 'response.output_item.done'
             && event.item.status === 'incomplete';
}
is(voids, 1, 'text that is taken back is an incomplete item');
is((await voided.finalResponse()).output.length, 2,
    'and not in the final response');

const failed = openai.responses.stream({ model,
    input: 'every=60 at=2 fail=1 stream=a |b |c ' });
let end;
for await (const event of failed) {
    end = event;
}
is(end.type, 'response.failed', 'a job that failed');

let e = await throws(async () => {
    for await (const chunk of await openai.chat.completions.create({ model,
        stream: true, messages: [{ role: 'user',
            content: 'every=60 void=2 stream=one |two |three ' }] })) {}
}, OpenAI.APIError, 'a chat that is taken back throws');
is(e.code, 'attempt_void', 'why');


// chat

const chunks = [];
for await (const chunk of await openai.chat.completions.create({ model,
    stream: true, stream_options: { include_usage: true },
    messages: [{ role: 'user', content: input }] }))
{
    chunks.push(chunk);
}

like(chunks.map((c) => c.choices[0]?.delta?.content ?? '').join(''),
    /one +two +three +four/, 'a chat, chunk by chunk');
is(chunks.at(-2).choices[0].finish_reason, 'stop', 'its finish_reason');
ok(chunks.at(-1).usage.total_tokens >= 0, 'and usage');

const chat = openai.chat.completions.stream({ model,
    messages: [{ role: 'user', content: input }] });
like(await chat.finalContent(), /four/, 'chat.completions.stream');

// A program whose model calls functions: the loop of the manual, the same by
// hand, and the client's own runner.

import { client, is, ok } from './tap.mjs';

const openai = client();
const model = 'caller';
const question = 'How is the weather in Oslo and in Rome?';
const end = 'Oslo is fine and Rome is fine.';
const parameters = { type: 'object',
    properties: { city: { type: 'string' } } };

const asked = [];

function weather({ city }) {
    asked.push(city);
    return `${city} is fine`;
}

const tools = [{ type: 'function', name: 'weather', strict: false, parameters }];

let response = await openai.responses.create({ model, tools, input: question });

for (;;) {
    const calls = response.output.filter((i) => i.type === 'function_call');
    if (!calls.length) break;

    response = await openai.responses.create({ model, tools,
        previous_response_id: response.id,
        input: await Promise.all(calls.map(async (call) => ({
            type: 'function_call_output', call_id: call.call_id,
            output: await weather(JSON.parse(call.arguments)) }))) });
}

is(response.output_text, end, 'a loop of responses.create');
is(asked.splice(0), ['Oslo', 'Rome'], 'each function is called once');

const input = [{ role: 'user', content: question }];

for (;;) {
    const stream = openai.responses.stream({ model, tools, input });
    response = await stream.finalResponse();
    input.push(...response.output);
    const calls = response.output.filter((i) => i.type === 'function_call');
    if (!calls.length) break;

    for (const call of calls) {
        input.push({ type: 'function_call_output', call_id: call.call_id,
            output: weather(JSON.parse(call.arguments)) });
    }
}

is(response.output_text, end, 'a loop of responses.stream with all items');
is(asked.splice(0), ['Oslo', 'Rome'], 'each function once');

const runnable = [{ type: 'function', function: { name: 'weather', parameters,
    parse: JSON.parse, function: weather } }];
const messages = [{ role: 'user', content: question }];

const runner = openai.chat.completions.runTools({ model, messages,
    tools: runnable });

is(await runner.finalContent(), end, 'chat.completions.runTools');
is(asked.splice(0), ['Oslo', 'Rome'], 'calls each function once');
is(runner.messages.map((m) => m.role),
    ['user', 'assistant', 'tool', 'assistant', 'tool', 'assistant'],
    'in its order');

const streamed = openai.chat.completions.runTools({ model, messages,
    tools: runnable, stream: true });

is(await streamed.finalContent(), end, 'and with a stream');
is(asked.splice(0), ['Oslo', 'Rome'], 'the same');

ok(true, 'the program came to its end');

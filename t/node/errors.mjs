// The errors that a program catches, by their classes, and none of them sent
// again.

import { OpenAI, calls, client, is, like, model, throws } from './tap.mjs';

const openai = client();

async function refused(what, type, code, name) {
    const before = calls.n;
    const e = await throws(what, type, name);
    is(e.code, code, '  code');
    is(calls.n - before, 1, '  asked once');
    like(e.requestID, /^req_/, '  and the id of the request');
    return e;
}

const ask = (more, options) =>
    openai.responses.create({ model, input: 'say=x', ...more }, options);

let e = await refused(() => ask({ input: '' }), OpenAI.BadRequestError,
    'invalid_value', '400 is BadRequestError');
is(e.param, 'input', '  with the member');
is(e.type, 'invalid_request_error', '  and its type');

e = await refused(() => ask({ prompt: { id: 'x' } }), OpenAI.BadRequestError,
    'invalid_value', 'so is what is not supported');
is(e.param, 'prompt', '  by name');

await refused(() => client({ apiKey: 'x.y.z' }).models.list(),
    OpenAI.AuthenticationError, 'invalid_token',
    '401 is AuthenticationError');

await refused(() => openai.responses.retrieve('resp_' + '0'.repeat(32)),
    OpenAI.NotFoundError, 'not_found', '404 is NotFoundError');

await refused(() => ask({ model: 'none' }), OpenAI.NotFoundError,
    'model_not_found', 'and so is a model that is not there');

const key = { headers: { 'Idempotency-Key': 'node' } };
const one = await ask({}, key);
is((await ask({}, key)).id, one.id, 'an Idempotency-Key makes one job');
await refused(() => ask({ input: 'say=y' }, key),
    OpenAI.UnprocessableEntityError, 'idempotency_key_reused',
    '422 is UnprocessableEntityError');

await refused(() => openai.chat.completions.create({ model,
    messages: [{ role: 'user', content: 'fail=1' }] }),
    OpenAI.InternalServerError, 'job_failed',
    'a chat whose job failed is InternalServerError');

// What is sent again and what is not.  The argument says what the server has
// been made to do.

import { OpenAI, calls, client, is, model, ok, sleep, throws } from './tap.mjs';

const openai = client();
const ask = () => openai.responses.create({ model, input: 'say=x',
    background: true });

switch (process.argv[2]) {

case 'limited': {
    await ask();
    calls.n = 0;
    const start = Date.now();
    const r = await ask();
    is(r.status, 'queued', 'a 429 is waited out');
    ok(calls.n >= 2, 'by asking again', calls.n);
    ok(Date.now() - start >= 400, 'not before Retry-After',
        Date.now() - start);
    calls.n = 0;
    const e = await throws(() => client({ maxRetries: 0 }).responses.create(
        { model, input: 'x', background: true }), OpenAI.RateLimitError,
        '429 is RateLimitError');
    is(e.code, 'rate_limit_exceeded', '  code');
    ok(Number(e.headers.get('retry-after-ms')) > 0, '  retry-after-ms');
    break;
}

case 'unavailable': {
    const e = await throws(ask, OpenAI.InternalServerError,
        '503 is InternalServerError');
    is(e.code, 'queue_unavailable', '  code');
    is(calls.n, 3, '  asked three times');
    break;
}

case 'unconfirmed': {
    await openai.models.list();     // nginx is connected, and so are we
    calls.n = 0;
    ok(true, 'ready');
    await sleep(300);
    const e = await throws(ask, OpenAI.InternalServerError,
        '504 is InternalServerError');
    is(e.code, 'submit_unconfirmed', '  code');
    is(calls.n, 1, '  which is not sent again: the job may exist');
    ok(/^\/v1\/responses\/resp_/.test(e.headers.get('location')),
        '  and the Location says where to look');
    break;
}

case 'left': {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 500);
    await throws(() => openai.responses.create(
        { model, input: 'sleep=60000' }, { signal: controller.signal }),
        OpenAI.APIUserAbortError, 'who aborts gets APIUserAbortError');
    break;
}
}

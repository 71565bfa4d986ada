// What the programs of this folder share: assertions, one JSON text a line,
// which t/openai_node.t makes its own; and the client, as any program would
// make it, with a fetch that counts.

import { createRequire } from 'node:module';

const OpenAI = createRequire(process.env.TRIFECTA_NODE + '/')('openai');

export { OpenAI };

export const model = 'test';

export function ok(is, name, got) {
    console.log(JSON.stringify({ ok: !!is, name, got: is ? null : got }));
}

export function is(got, want, name) {
    const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
    ok(a === b, name, `got ${a}, expected ${b}`);
}

export function like(got, re, name) {
    ok(re.test(got), name, `got ${JSON.stringify(got)}`);
}

// An error of this class: it is returned.

export async function throws(what, type, name) {
    try {
        const value = await what();
        ok(false, name, `no error, but ${JSON.stringify(value)}`);
    } catch (e) {
        ok(e instanceof type, name, `${e.constructor.name}: ${e.message}`);
        return e;
    }
    return {};
}

export const calls = { n: 0 };

export function client(options = {}) {
    return new OpenAI({
        baseURL: process.env.TRIFECTA_URL + '/v1',
        apiKey: process.env.TRIFECTA_TOKEN,
        fetch: (url, init) => { calls.n++; return fetch(url, init); },
        ...options,
    });
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

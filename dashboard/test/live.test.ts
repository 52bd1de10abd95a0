import { describe, expect, it, vi } from 'vitest';
import { EVENT_MAX, EventParser, Live } from '../src/model/sse';
import type { Link } from '../src/model/sse';

describe('server-sent events', () => {
  it('are the same however the bytes are cut', () => {
    const text = ': alive\n\nevent: state\ndata: {"a":1}\n\nevent: log\r\ndata: x\r\ndata: y\r\n\r\ndata: z\n\n';
    const wanted = [{ event: 'state', data: '{"a":1}' }, { event: 'log', data: 'x\ny' }, { event: 'message', data: 'z' }];
    for (let size = 1; size <= text.length; ++size) {
      const parser = new EventParser();
      const found = [];
      for (let at = 0; at < text.length; at += size) found.push(...parser.push(text.slice(at, at + size)));
      expect(found).toEqual(wanted);
    }
  });

  it('are none before their empty line', () => expect(new EventParser().push('event: state\ndata: 1\n')).toEqual([]));

  it('are refused when they are too large', () => {
    const parser = new EventParser();
    expect(() => parser.push('x'.repeat(EVENT_MAX + 1))).toThrow('too large');
  });
});

/** A busy machine may take this long; nobody waits for it otherwise. */
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 20_000 });

/** A body of which the test says when it goes on. */
function stream(): { response: Response; send: (text: string) => void; end: () => void } {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (made) => { controller = made; } });
  return { response: new Response(body), send: (text) => controller.enqueue(new TextEncoder().encode(text)), end: () => controller.close() };
}

function watch(fetch: (url: string) => Promise<Response>) {
  const links: Link[] = [];
  const states: unknown[] = [];
  const log: unknown[] = [];
  const live = new Live({
    onLink: (link) => links.push(link), onState: (state) => states.push(state), onLog: (entry) => log.push(entry),
    fetch: ((url: string) => fetch(url)) as typeof globalThis.fetch, now: () => 4711,
  });
  const done = live.run();
  /** `close`: what a real fetch does when it is aborted. */
  const end = async (close: () => void = () => undefined): Promise<void> => {
    live.stop();
    close();
    await done;
  };
  return { links, states, log, live, end };
}

describe('the connection to the node', () => {
  it('is live with the first state, and lost since the moment when it ended', async () => {
    const { response, send, end } = stream();
    let calls = 0;
    const page = watch(() => (++calls === 1 ? Promise.resolve(response) : Promise.reject(new TypeError('refused'))));
    send('event: log\ndata: {"text":"hello"}\n\nevent: state\ndata: {"time":1}\n\n');
    await until(() => expect(page.states).toEqual([{ time: 1 }]));
    expect(page.log).toEqual([{ text: 'hello' }]);
    expect(page.links.map((link) => link.phase)).toEqual(['connecting', 'live']);
    end();
    await until(() => expect(page.links[2]).toMatchObject({ phase: 'lost', since: 4711, reason: 'it closed the connection' }));
    await page.end();
  });

  it('is made again, at once when the reader wants it', async () => {
    const second = stream();
    let calls = 0;
    const page = watch(() => (++calls === 1 ? Promise.reject(new TypeError('refused')) : Promise.resolve(second.response)));
    await until(() => expect(page.links.at(-1)).toMatchObject({ phase: 'lost', reason: 'it does not answer' }));
    page.live.retry();
    second.send('event: state\ndata: {}\n\n');
    await until(() => expect(page.links.at(-1)).toEqual({ phase: 'live' }));
    await page.end(second.end);
  });

  it('says when a token is needed', async () => {
    const page = watch(() => Promise.resolve(new Response('', { status: 401 })));
    await until(() => expect(page.links.at(-1)).toMatchObject({ phase: 'denied' }));
    await page.end();
  });

  it('asks again and again where the node has too many listeners', async () => {
    const page = watch((url) => Promise.resolve(url === 'api/state' ? new Response('{"time":5}') : new Response('', { status: 503 })));
    await until(() => expect(page.states).toEqual([{ time: 5 }]));
    expect(page.links.at(-1)).toEqual({ phase: 'polling' });
    await page.end();
  });

  it('goes on behind an event that is no JSON', async () => {
    const { response, send, end } = stream();
    const page = watch(() => Promise.resolve(response));
    send('event: state\ndata: {oops\n\nevent: state\ndata: {"time":2}\n\n');
    await until(() => expect(page.states).toEqual([{ time: 2 }]));
    await page.end(end);
  });
});

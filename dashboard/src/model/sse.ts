// Server-sent events over fetch. EventSource would hide what this page has to say: the status of a refusal, and that a
// connection without even comment lines is dead.

export interface ServerEvent { event: string; data: string }

/** Characters of one event: a state of 5,000 nodes is below 8 MB. */
export const EVENT_MAX = 32 * 1024 * 1024;

/** HTML standard, section "Server-sent events": what this page needs of it (event, data, comments). */
export class EventParser {
  /** Pieces of a line that has not ended. They are joined once: a state comes in a hundred pieces. */
  private pieces: string[] = [];
  private event = '';
  private data: string[] = [];
  private held = 0;

  push(chunk: string): ServerEvent[] {
    this.held += chunk.length;
    if (this.held > EVENT_MAX) throw new Error('an event is too large');
    this.pieces.push(chunk);
    if (!chunk.includes('\n')) return [];
    const lines = this.pieces.join('').split('\n');
    this.pieces = [lines.pop()!];
    return lines.map((line) => this.line(line.replace(/\r$/, ''))).filter((found): found is ServerEvent => found !== null);
  }

  private line(line: string): ServerEvent | null {
    if (line === '') {
      const complete = this.data.length > 0 ? { event: this.event || 'message', data: this.data.join('\n') } : null;
      this.event = '';
      this.data = [];
      this.held = 0;
      return complete;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.event = value;
    if (field === 'data') this.data.push(value);
    return null;
  }
}

export type Link =
  | { phase: 'connecting' }
  | { phase: 'live' }
  /** The node serves no more listeners: the state is asked for every two seconds, events are not shown. */
  | { phase: 'polling' }
  | { phase: 'lost'; since: number; retryAt: number; reason: string }
  | { phase: 'denied'; since: number; reason: string };

export interface LiveOptions {
  onState: (state: unknown) => void;
  onLog: (entry: unknown) => void;
  onLink: (link: Link) => void;
  fetch?: typeof fetch;
  now?: () => number;
}

/** The node sends a comment line every 15 s. */
export const SILENCE_MS_MAX = 40_000;
const POLL_MS = 2000;
const POLLS_BEFORE_RETRY = 15;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 5000;

export class Live {
  private stopped = false;
  private since = 0;
  private failures = 0;
  private abort = new AbortController();
  private wake: (() => void) | null = null;
  private readonly fetch: typeof fetch;
  private readonly now: () => number;

  constructor(private readonly options: LiveOptions) {
    this.fetch = options.fetch ?? ((...request) => globalThis.fetch(...request));
    this.now = options.now ?? Date.now;
  }

  /** Until `stop`. */
  async run(): Promise<void> {
    this.options.onLink({ phase: 'connecting' });
    while (!this.stopped) {
      let reason: string;
      try {
        reason = await this.listen();
      } catch (error) {
        reason = error instanceof DOMException && error.name === 'AbortError' ? 'it fell silent' : 'it does not answer';
      }
      if (this.stopped) return;
      if (this.since === 0) this.since = this.now();
      const pause = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(this.failures, 6));
      this.failures += 1;
      if (reason === 'denied') {
        this.options.onLink({ phase: 'denied', since: this.since, reason: 'a token is needed' });
        await this.sleep(RETRY_MS_MAX * 3);
      } else {
        this.options.onLink({ phase: 'lost', since: this.since, retryAt: this.now() + pause, reason });
        await this.sleep(pause);
      }
    }
  }

  /** Tries again at once. */
  retry(): void { this.wake?.(); }

  stop(): void {
    this.stopped = true;
    this.abort.abort();
    this.wake?.();
  }

  /** Returns why it ended. */
  private async listen(): Promise<string> {
    this.abort = new AbortController();
    let silence = setTimeout(() => this.abort.abort(), SILENCE_MS_MAX);
    try {
      const response = await this.fetch('api/events', {
        headers: { Accept: 'text/event-stream' }, cache: 'no-store', signal: this.abort.signal,
      });
      if (response.status === 401 || response.status === 403) return 'denied';
      if (response.status === 503 || response.status === 429) {
        clearTimeout(silence);
        return await this.poll();
      }
      if (!response.ok || !response.body) return `it answers with ${response.status}`;
      const parser = new EventParser();
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return 'it closed the connection';
        clearTimeout(silence);
        silence = setTimeout(() => this.abort.abort(), SILENCE_MS_MAX);
        for (const event of parser.push(decoder.decode(value, { stream: true }))) this.take(event);
      }
    } finally {
      clearTimeout(silence);
      this.abort.abort();
    }
  }

  private take({ event, data }: ServerEvent): void {
    let value: unknown;
    try {
      value = JSON.parse(data);
    } catch {
      return;
    }
    if (event === 'state') {
      this.well('live');
      this.options.onState(value);
    } else if (event === 'log') {
      this.options.onLog(value);
    }
  }

  private well(phase: 'live' | 'polling'): void {
    this.since = 0;
    this.failures = 0;
    this.options.onLink({ phase });
  }

  private async poll(): Promise<string> {
    for (let polls = 0; polls < POLLS_BEFORE_RETRY && !this.stopped; ++polls) {
      const response = await this.fetch('api/state', { cache: 'no-store' });
      if (!response.ok) return `it answers with ${response.status}`;
      const state: unknown = await response.json();
      this.well('polling');
      this.options.onState(state);
      await this.sleep(POLL_MS);
    }
    return 'it has too many listeners';
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.wake = null;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.wake = done;
    });
  }
}

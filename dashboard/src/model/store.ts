// All that the page knows, in one place; views are told when it changed.
import { decodeLogEntry, decodeState } from './api';
import type { ClusterNode, LogEntry, State } from './api';
import { Departed, changes, sameTopology, sentence } from './diff';
import { History } from './history';
import { EventLog } from './log';
import { Live } from './sse';
import type { Link } from './sse';
import { buildTopology } from './topology';
import type { Topology } from './topology';

export interface Snapshot {
  state: State | null;
  /** Those of the state, and those that vanished from it. */
  nodes: ClusterNode[];
  /** Another object only when the graph changed. */
  topology: Topology;
  log: LogEntry[];
  link: Link;
  /** Nodes whose state changed less than HIGHLIGHT_MS ago. */
  changed: ReadonlySet<string>;
  /** For screen readers. */
  announcement: string;
  selected: string | null;
}

export const HIGHLIGHT_MS = 10_000;
/** More changes at once are told as a number: nobody listens to a list of a hundred names. */
const ANNOUNCED_MAX = 3;

export class Store {
  readonly history = new History();
  readonly live: Live;
  snapshot: Snapshot = {
    state: null, nodes: [], topology: buildTopology([]), log: [], link: { phase: 'connecting' }, changed: new Set(),
    announcement: '', selected: null,
  };
  private readonly departed = new Departed();
  private readonly log = new EventLog();
  private readonly changedAt = new Map<string, number>();
  private readonly listeners = new Set<() => void>();
  private scheduled = false;

  constructor(private readonly now: () => number = Date.now) {
    this.live = new Live({
      onState: (state) => this.takeState(state),
      onLog: (entry) => this.takeLog(entry),
      onLink: (link) => this.put({ link }),
    });
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  select(selected: string | null): void { this.put({ selected }); }

  takeState(raw: unknown): void {
    const state = decodeState(raw);
    const before = this.snapshot.state;
    const now = this.now();
    if (before && before.node.started !== state.node.started) this.history.clear();
    this.history.add(state.time, state.peers);
    const nodes = this.departed.complete(state.nodes, now);
    const topology = sameTopology(this.snapshot.nodes, nodes) ? this.snapshot.topology : buildTopology(nodes);
    const found = before ? changes(before, state) : [];
    for (const change of found) this.changedAt.set(change.node, now);
    for (const [name, at] of this.changedAt) if (now - at > HIGHLIGHT_MS) this.changedAt.delete(name);
    const announcement = found.length === 0 ? this.snapshot.announcement
      : found.length > ANNOUNCED_MAX ? `${found.length} changes in the cluster` : found.map(sentence).join('. ');
    this.put({ state, nodes, topology, announcement, changed: new Set(this.changedAt.keys()) });
  }

  takeLog(raw: unknown): void {
    if (this.log.add(decodeLogEntry(raw))) this.put({ log: this.log.entries });
  }

  /** Views are told once for all that came together: a connection begins with 200 events. */
  private put(part: Partial<Snapshot>): void {
    this.snapshot = { ...this.snapshot, ...part };
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      for (const listener of this.listeners) listener();
    });
  }
}

// The last events, without those that a new connection tells again.
import type { LogEntry, Severity } from './api';

export const LOG_MAX = 2000;

export interface LogFilter { text: string; severities: ReadonlySet<Severity>; kind: string }

const keyOf = (entry: LogEntry): string => JSON.stringify([entry.time, entry.kind, entry.peer, entry.text, entry.reason]);

export class EventLog {
  /** The newest last. */
  entries: LogEntry[] = [];
  private keys = new Set<string>();

  constructor(private readonly max = LOG_MAX) {}

  /** False: it is known already. */
  add(entry: LogEntry): boolean {
    const key = keyOf(entry);
    if (this.keys.has(key)) return false;
    this.keys.add(key);
    const last = this.entries[this.entries.length - 1];
    this.entries = [...this.entries, entry];
    if (last && last.time > entry.time) this.entries.sort((one, other) => one.time - other.time);
    if (this.entries.length > this.max) {
      for (const old of this.entries.slice(0, this.entries.length - this.max)) this.keys.delete(keyOf(old));
      this.entries = this.entries.slice(-this.max);
    }
    return true;
  }
}

export function matches(entry: LogEntry, filter: LogFilter): boolean {
  if (!filter.severities.has(entry.severity)) return false;
  if (filter.kind !== '' && entry.kind !== filter.kind) return false;
  const wanted = filter.text.trim().toLowerCase();
  return wanted === '' || `${entry.kind} ${entry.peer} ${entry.text} ${entry.reason}`.toLowerCase().includes(wanted);
}

export const kindsOf = (entries: LogEntry[]): string[] => [...new Set(entries.map((one) => one.kind))].sort();

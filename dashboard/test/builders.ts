import type { ClusterNode, LogEntry, Peer, State } from '../src/model/api';
import { decodeState } from '../src/model/api';

export const node = (name: string, more: Partial<ClusterNode> = {}): ClusterNode => (
  { name, kind: 'cpp', state: 'alive', self: false, connected: true, active: [], passive: [], age_ms: 0, ...more });

export const state = (nodes: ClusterNode[], more: Partial<State> = {}): State => ({ ...decodeState({}), nodes, ...more });

export const peer = (name: string, more: Partial<Peer> = {}): Peer => ({
  name, rtt_ms: 1, rtt_min_ms: 1, loss: 0, sent_bytes: 0, received_bytes: 0, in_flight: 0, queued_bytes: 0, streams: 0, address: '', ...more });

export const event = (time: number, more: Partial<LogEntry> = {}): LogEntry => (
  { time, severity: 'info', kind: 'up', peer: 'b@x', text: 'connected to b@x', reason: 'dialled', ...more });

/** `count` nodes in a circle, each linked with the next and with one across. */
export const circle = (count: number): ClusterNode[] => Array.from({ length: count }, (_, at) =>
  node(`n${at}`, { self: at === 0, active: [`n${(at + 1) % count}`, `n${(at * 7 + 3) % count}`] }));

// What a node tells, as types, and the only way from its JSON to them. The text in it comes from the whole cluster: it
// is checked here for type and length, and shown as text only.

export type NodeKind = 'cpp' | 'erlang' | 'unknown';
/** `gone`: this page saw the node, and the list no longer has it. */
export type NodeState = 'alive' | 'down' | 'left' | 'gone';

export interface ClusterNode {
  name: string;
  kind: NodeKind;
  state: NodeState;
  self: boolean;
  connected: boolean;
  /** null: it was not asked, or did not answer. */
  active: string[] | null;
  passive: string[] | null;
  age_ms: number;
}
export interface Service { name: string; node: string; pid: string; meta: string }
export interface Leader { role: string; node: string; pid: string; fence: string; here: boolean; candidates: number }
export interface Placement { partitions: number; members: string[]; owners: (number | null)[] }
export interface MapInfo { name: string; size: number; persist: boolean }
export interface Reminder { key: string; due: number; here: boolean }
export interface Peer {
  name: string;
  rtt_ms: number;
  rtt_min_ms: number;
  /** Of all that was ever sent on this connection, 0 to 1. */
  loss: number;
  sent_bytes: number;
  received_bytes: number;
  in_flight: number;
  queued_bytes: number;
  streams: number;
  address: string;
}
export interface State {
  time: number;
  node: { name: string; kind: NodeKind; version: string; uptime_ms: number; port: number; started: number };
  health: { live: boolean; ready: boolean; reasons: string[] };
  nodes: ClusterNode[];
  services: Service[];
  services_total: number;
  leaders: Leader[];
  placement: Placement;
  maps: MapInfo[];
  reminders: { pending: number; next: Reminder[] };
  peers: Peer[];
  totals: Record<string, number>;
}
export type Severity = 'debug' | 'info' | 'warning' | 'error';
export interface LogEntry { time: number; severity: Severity; kind: string; peer: string; text: string; reason: string }
export interface MapPage { name: string; size: number; entries: { key: string; value: string }[]; next: string | null }

/** Rows of one list. A node sends at most 2,000 of a kind; what is more would only slow the page down. */
export const ROWS_MAX = 5000;
/** Characters of one text: more than anybody reads in a table. */
export const TEXT_MAX = 4096;

type Fields = Record<string, unknown>;

const fields = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value.slice(0, ROWS_MAX) : []);
const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, TEXT_MAX) : '');
const number = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
const count = (value: unknown): number => Math.max(0, number(value));
const names = (value: unknown): string[] => list(value).filter((one): one is string => typeof one === 'string').map(text);
const view = (value: unknown): string[] | null => (Array.isArray(value) ? names(value) : null);
const oneOf = <T extends string>(value: unknown, choices: readonly T[], otherwise: T): T =>
  choices.includes(value as T) ? (value as T) : otherwise;

function node(value: unknown): ClusterNode {
  const raw = fields(value);
  return {
    name: text(raw.name),
    kind: oneOf(raw.kind, ['cpp', 'erlang', 'unknown'] as const, 'unknown'),
    state: oneOf(raw.state, ['alive', 'down', 'left'] as const, 'alive'),
    self: raw.self === true,
    connected: raw.connected === true,
    active: view(raw.active),
    passive: view(raw.passive),
    age_ms: count(raw.age_ms),
  };
}

function placement(value: unknown): Placement {
  const raw = fields(value);
  const members = names(raw.members);
  const owners = list(raw.owners).map((owner) =>
    typeof owner === 'number' && Number.isInteger(owner) && owner >= 0 && owner < members.length ? owner : null);
  return { partitions: owners.length, members, owners };
}

function peer(value: unknown): Peer {
  const raw = fields(value);
  return {
    name: text(raw.name),
    rtt_ms: count(raw.rtt_ms),
    rtt_min_ms: count(raw.rtt_min_ms),
    loss: Math.min(1, count(raw.loss)),
    sent_bytes: count(raw.sent_bytes),
    received_bytes: count(raw.received_bytes),
    in_flight: count(raw.in_flight),
    queued_bytes: count(raw.queued_bytes),
    streams: count(raw.streams),
    address: text(raw.address),
  };
}

/** Takes whatever came as the state of a cluster: what is missing or of another type is empty. */
export function decodeState(value: unknown): State {
  const raw = fields(value);
  const self = fields(raw.node);
  const health = fields(raw.health);
  const reminders = fields(raw.reminders);
  const services = list(raw.services).map(fields).map((one) => (
    { name: text(one.name), node: text(one.node), pid: text(one.pid), meta: text(one.meta) }));
  return {
    time: count(raw.time),
    node: {
      name: text(self.name),
      kind: oneOf(self.kind, ['cpp', 'erlang', 'unknown'] as const, 'unknown'),
      version: text(self.version),
      uptime_ms: count(self.uptime_ms),
      port: count(self.port),
      started: count(self.started),
    },
    health: { live: health.live === true, ready: health.ready === true, reasons: names(health.reasons) },
    nodes: list(raw.nodes).map(node).filter((one) => one.name !== ''),
    services,
    services_total: Math.max(services.length, count(raw.services_total)),
    leaders: list(raw.leaders).map(fields).map((one) => ({
      role: text(one.role), node: text(one.node), pid: text(one.pid), fence: text(one.fence),
      here: one.here === true, candidates: count(one.candidates),
    })),
    placement: placement(raw.placement),
    maps: list(raw.maps).map(fields).map((one) => (
      { name: text(one.name), size: count(one.size), persist: one.persist === true })),
    reminders: {
      pending: count(reminders.pending),
      next: list(reminders.next).map(fields).map((one) => (
        { key: text(one.key), due: number(one.due), here: one.here === true })),
    },
    peers: list(raw.peers).map(peer).filter((one) => one.name !== ''),
    totals: Object.fromEntries(Object.entries(fields(raw.totals)).slice(0, 200)
      .filter((entry): entry is [string, number] => typeof entry[1] === 'number')),
  };
}

/** The text of an entry may begin with its time, as in a log file: here the time stands beside it. */
const TIMESTAMP = /^\d{4}-\d\d-\d\dT[\d:.]+Z /;

export function decodeLogEntry(value: unknown): LogEntry {
  const raw = fields(value);
  return {
    time: count(raw.time),
    severity: oneOf(raw.severity, ['debug', 'info', 'warning', 'error'] as const, 'info'),
    kind: text(raw.kind),
    peer: text(raw.peer),
    text: text(raw.text).replace(TIMESTAMP, ''),
    reason: text(raw.reason),
  };
}

export function decodeMapPage(value: unknown): MapPage {
  const raw = fields(value);
  return {
    name: text(raw.name),
    size: count(raw.size),
    entries: list(raw.entries).map(fields).map((one) => ({ key: text(one.key), value: text(one.value) })),
    // A key is sent back as it came, so it must not be cut.
    next: typeof raw.next === 'string' ? raw.next : null,
  };
}

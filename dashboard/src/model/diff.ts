// What changed from one state to the next, and the memory of nodes that the list no longer has.
import type { ClusterNode, State } from './api';

export type Change =
  | { kind: 'joined' | 'down' | 'left' | 'back' | 'gone'; node: string }
  | { kind: 'leader'; role: string; node: string };

/** Nodes that vanished from the list stay on the page this long, and at most so many of them. */
export const GONE_MS = 10 * 60 * 1000;
export const GONE_MAX = 200;

/** Whether links have to be laid out anew: the nodes, their states, or the views differ. */
export function sameTopology(before: ClusterNode[], after: ClusterNode[]): boolean {
  if (before.length !== after.length) return false;
  const sameView = (one: string[] | null, other: string[] | null): boolean =>
    one === other || (one !== null && other !== null && one.length === other.length && one.every((name, at) => name === other[at]));
  return before.every((one, at) => {
    const other = after[at]!;
    return one.name === other.name && one.state === other.state && one.kind === other.kind && one.self === other.self &&
      sameView(one.active, other.active) && sameView(one.passive, other.passive);
  });
}

export function changes(before: State, after: State): Change[] {
  const found: Change[] = [];
  const old = new Map(before.nodes.map((one) => [one.name, one]));
  for (const one of after.nodes) {
    const was = old.get(one.name);
    old.delete(one.name);
    if (!was) {
      if (one.state === 'alive') found.push({ kind: 'joined', node: one.name });
    } else if (was.state !== one.state) {
      found.push({ kind: one.state === 'alive' ? 'back' : one.state, node: one.name });
    }
  }
  for (const one of old.values()) {
    if (one.state === 'alive') found.push({ kind: 'gone', node: one.name });
  }
  const led = new Map(before.leaders.map((one) => [one.role, one.node]));
  for (const one of after.leaders) {
    if (one.node !== '' && led.get(one.role) !== one.node) found.push({ kind: 'leader', role: one.role, node: one.node });
  }
  return found;
}

/** Remembers nodes that were listed, so that one which vanishes is seen to be missing. */
export class Departed {
  private readonly seen = new Map<string, { node: ClusterNode; at: number }>();

  /** The listed nodes, and behind them those that were listed before. */
  complete(nodes: ClusterNode[], now: number): ClusterNode[] {
    const listed = new Set(nodes.map((one) => one.name));
    const gone: { node: ClusterNode; at: number }[] = [];
    for (const [name, memory] of this.seen) {
      if (listed.has(name)) continue;
      if (now - memory.at > GONE_MS) this.seen.delete(name);
      else gone.push(memory);
    }
    gone.sort((one, other) => other.at - one.at);
    for (const memory of gone.splice(GONE_MAX)) this.seen.delete(memory.node.name);
    for (const node of nodes) this.seen.set(node.name, { node, at: now });
    return [...nodes, ...gone.map(({ node, at }): ClusterNode => (
      { ...node, state: node.state === 'left' ? 'left' : 'gone', connected: false, active: null, passive: null, age_ms: now - at }))];
  }
}

export function sentence(change: Change): string {
  switch (change.kind) {
    case 'joined': return `${change.node} joined`;
    case 'down': return `${change.node} is down`;
    case 'left': return `${change.node} left`;
    case 'back': return `${change.node} is back`;
    case 'gone': return `${change.node} is gone from the list`;
    case 'leader': return `${change.node} leads ${change.role}`;
  }
}

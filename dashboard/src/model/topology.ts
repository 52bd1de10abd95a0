// Nodes and links as the views of all nodes tell them.
import type { ClusterNode } from './api';

export interface Link {
  /** Places in `nodes`; source < target. */
  source: number;
  target: number;
  /** Both ends have the other in their active view, as they should. */
  mutual: boolean;
  /** One end is not alive: what is left of a link. */
  stale: boolean;
}
export interface Topology { nodes: ClusterNode[]; active: Link[]; passive: Link[]; neighbours: number[][] }

const isAlive = (node: ClusterNode | undefined): boolean => node?.state === 'alive';

export function buildTopology(nodes: ClusterNode[]): Topology {
  const place = new Map(nodes.map((one, at) => [one.name, at]));
  const active = new Map<number, Link & { from: number }>();
  const passive = new Map<number, Link>();
  const keyOf = (one: number, other: number): number => Math.min(one, other) * nodes.length + Math.max(one, other);

  const each = (pick: (node: ClusterNode) => string[] | null, visit: (from: number, to: number) => void): void => {
    nodes.forEach((node, from) => {
      for (const name of pick(node) ?? []) {
        const to = place.get(name);
        if (to !== undefined && to !== from) visit(from, to);
      }
    });
  };
  const link = (from: number, to: number): Link => ({
    source: Math.min(from, to), target: Math.max(from, to), mutual: false, stale: !isAlive(nodes[from]) || !isAlive(nodes[to]),
  });
  each((node) => node.active, (from, to) => {
    const known = active.get(keyOf(from, to));
    if (!known) active.set(keyOf(from, to), { ...link(from, to), from });
    else if (known.from !== from) known.mutual = true;
  });
  each((node) => node.passive, (from, to) => {
    const key = keyOf(from, to);
    if (!active.has(key) && !passive.has(key)) passive.set(key, link(from, to));
  });

  const neighbours: number[][] = nodes.map(() => []);
  for (const one of active.values()) {
    neighbours[one.source]!.push(one.target);
    neighbours[one.target]!.push(one.source);
  }
  return { nodes, active: [...active.values()], passive: [...passive.values()], neighbours };
}

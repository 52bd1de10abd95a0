// The ring of partitions as arcs, one for each run of partitions with the same owner.
import type { Placement } from './api';

export interface Arc { owner: number | null; first: number; count: number; from: number; to: number }
export interface Share { member: string; index: number; partitions: number; share: number }

const TURN = 2 * Math.PI;

/** Angles in radians, clockwise from the top. The last run does not join the first: partition 0 is where one looks first. */
export function arcs({ owners }: Placement): Arc[] {
  const found: Arc[] = [];
  owners.forEach((owner, at) => {
    const last = found[found.length - 1];
    if (last && last.owner === owner) last.count += 1;
    else found.push({ owner, first: at, count: 1, from: 0, to: 0 });
  });
  for (const arc of found) {
    arc.from = (arc.first / owners.length) * TURN;
    arc.to = ((arc.first + arc.count) / owners.length) * TURN;
  }
  return found;
}

export function shares(placement: Placement): Share[] {
  const owned = placement.members.map(() => 0);
  for (const owner of placement.owners) if (owner !== null) owned[owner]! += 1;
  return placement.members.map((member, index) => ({
    member, index, partitions: owned[index]!, share: placement.owners.length === 0 ? 0 : owned[index]! / placement.owners.length,
  }));
}

/** The outline of an arc between two radii around 0,0, as an SVG path. */
export function arcPath(arc: Arc, inner: number, outer: number): string {
  const point = (angle: number, radius: number): string =>
    `${(radius * Math.sin(angle)).toFixed(2)} ${(-radius * Math.cos(angle)).toFixed(2)}`;
  // A full circle has no ends, and a path between equal points draws nothing: two halves.
  if (arc.to - arc.from > TURN - 1e-6) {
    const half = { ...arc, to: arc.from + Math.PI };
    return `${arcPath(half, inner, outer)} ${arcPath({ ...arc, from: half.to, to: half.to + Math.PI }, inner, outer)}`;
  }
  const large = arc.to - arc.from > Math.PI ? 1 : 0;
  return `M${point(arc.from, outer)} A${outer} ${outer} 0 ${large} 1 ${point(arc.to, outer)} ` +
    `L${point(arc.to, inner)} A${inner} ${inner} 0 ${large} 0 ${point(arc.from, inner)} Z`;
}

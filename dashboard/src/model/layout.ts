// Where the nodes of the graph are. The same cluster gets the same picture: nothing in here is random.
import { forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY } from 'd3-force';
import type { Simulation, SimulationLinkDatum, SimulationNodeDatum } from 'd3-force';
import type { Topology } from './topology';

export interface Spot extends SimulationNodeDatum { name: string; x: number; y: number }
export interface Box { left: number; top: number; right: number; bottom: number }

/** No node is farther from the middle than this, whatever the links pull. */
export const radiusMax = (nodes: number): number => 120 + 34 * Math.sqrt(nodes);

export class Layout {
  spots: Spot[] = [];
  private readonly simulation: Simulation<Spot, SimulationLinkDatum<Spot>>;
  private places = new Map<string, number>();

  constructor() {
    this.simulation = forceSimulation<Spot>().stop().alphaMin(0.02);
  }

  get settled(): boolean { return this.simulation.alpha() < this.simulation.alphaMin(); }

  /** Keeps nodes that it knows where they are; a new one starts beside a neighbour. */
  update(topology: Topology): void {
    const known = this.spots;
    const places = this.places;
    const fresh = known.length === 0;
    this.places = new Map(topology.nodes.map((node, at) => [node.name, at]));
    this.spots = topology.nodes.map((node, at) => {
      const old = places.get(node.name);
      if (old !== undefined) return known[old]!;
      const beside = (topology.neighbours[at] ?? []).map((other) => places.get(topology.nodes[other]!.name))
        .find((place) => place !== undefined);
      const angle = at * 2.399963;  // The golden angle: neighbours in the list are apart in the picture.
      const from = beside !== undefined ? known[beside]! : undefined;
      const radius = from ? 24 : 14 * Math.sqrt(at + 0.5);
      return { name: node.name, x: (from?.x ?? 0) + radius * Math.cos(angle), y: (from?.y ?? 0) + radius * Math.sin(angle) };
    });
    const many = topology.nodes.length;
    const distance = many > 200 ? 30 : many > 40 ? 46 : 96;
    const links = topology.active.map((link): SimulationLinkDatum<Spot> => (
      { source: this.spots[link.source]!, target: this.spots[link.target]! }));
    this.simulation.nodes(this.spots)
      .force('link', forceLink<Spot, SimulationLinkDatum<Spot>>(links).distance(distance))
      .force('charge', forceManyBody<Spot>().strength(many > 200 ? -46 : many > 40 ? -110 : -420).theta(1).distanceMax(distance * 12))
      // What nothing holds would be pushed far out, and the picture of the rest be small.
      .force('x', forceX<Spot>(0).strength((_, at) => (topology.neighbours[at]?.length ? 0.06 : 0.16)))
      .force('y', forceY<Spot>(0).strength((_, at) => (topology.neighbours[at]?.length ? 0.08 : 0.2)))
      .force('collide', many > 200 ? null : forceCollide<Spot>(14));
    this.simulation.alphaDecay(many > 200 ? 0.03 : 0.0228).alpha(fresh ? 1 : Math.max(this.simulation.alpha(), many > 200 ? 0.1 : 0.25));
  }

  tick(): void {
    this.simulation.tick();
    const limit = radiusMax(this.spots.length);
    for (const spot of this.spots) {
      const distance = Math.hypot(spot.x, spot.y);
      if (distance > limit) {
        spot.x *= limit / distance;
        spot.y *= limit / distance;
      }
    }
  }

  box(): Box {
    const box: Box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
    for (const { x, y } of this.spots) {
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x);
      box.top = Math.min(box.top, y);
      box.bottom = Math.max(box.bottom, y);
    }
    return this.spots.length === 0 ? { left: -1, top: -1, right: 1, bottom: 1 } : box;
  }

  /** The node nearest to a point, if one is within `reach`. */
  nearest(x: number, y: number, reach: number): number | null {
    let best: number | null = null;
    let limit = reach * reach;
    this.spots.forEach((spot, at) => {
      const distance = (spot.x - x) ** 2 + (spot.y - y) ** 2;
      if (distance <= limit) [best, limit] = [at, distance];
    });
    return best;
  }

  /** The node next to `from` in a direction, as for the arrow keys: the nearest one within 50 degrees of it. */
  towards(from: number, dx: number, dy: number): number | null {
    const here = this.spots[from];
    if (!here) return null;
    let best: number | null = null;
    let limit = Infinity;
    this.spots.forEach((spot, at) => {
      const [x, y] = [spot.x - here.x, spot.y - here.y];
      const along = x * dx + y * dy;
      const distance = Math.hypot(x, y);
      if (at !== from && distance > 0 && along / distance > 0.64 && distance < limit) [best, limit] = [at, distance];
    });
    return best;
  }
}

import { describe, expect, it } from 'vitest';
import { Layout, radiusMax } from '../src/model/layout';
import { buildTopology } from '../src/model/topology';
import { circle, node } from './builders';

describe('links', () => {
  it('are one for both directions, and say whether both ends know', () => {
    const { active } = buildTopology([node('a', { active: ['b', 'c'] }), node('b', { active: ['a'] }), node('c')]);
    expect(active.map(({ source, target, mutual }) => [source, target, mutual])).toEqual([[0, 1, true], [0, 2, false]]);
  });

  it('are passive only where no active one is', () => {
    const { active, passive } = buildTopology([node('a', { active: ['b'], passive: ['b', 'c'] }), node('b'), node('c', { passive: ['a'] })]);
    expect(active).toHaveLength(1);
    expect(passive.map(({ source, target }) => [source, target])).toEqual([[0, 2]]);
  });

  it('to a node that does not live are what is left of one', () => {
    const { active } = buildTopology([node('a', { active: ['b'] }), node('b', { state: 'down' })]);
    expect(active[0]!.stale).toBe(true);
  });

  it('to nodes that nobody lists, or to itself, are none', () => {
    expect(buildTopology([node('a', { active: ['a', 'x'], passive: ['y'] })])).toMatchObject({ active: [], passive: [] });
  });

  it('give every node its neighbours', () => {
    expect(buildTopology([node('a', { active: ['b'] }), node('b', { active: ['c'] }), node('c')]).neighbours).toEqual([[1], [0, 2], [1]]);
  });
});

describe('the layout', () => {
  const settle = (layout: Layout): number => {
    let ticks = 0;
    while (!layout.settled && ticks < 1000) {
      layout.tick();
      ticks += 1;
    }
    return ticks;
  };

  it.each([1, 2, 3, 50, 300])('of %i nodes comes to rest inside its bounds', (count) => {
    const layout = new Layout();
    layout.update(buildTopology(circle(count)));
    expect(settle(layout)).toBeLessThan(400);
    for (const spot of layout.spots) expect(Math.hypot(spot.x, spot.y)).toBeLessThanOrEqual(radiusMax(count) + 1e-6);
  });

  it('keeps nodes apart that have no links', () => {
    const layout = new Layout();
    layout.update(buildTopology(Array.from({ length: 20 }, (_, at) => node(`n${at}`))));
    settle(layout);
    for (const [at, spot] of layout.spots.entries()) expect(layout.nearest(spot.x, spot.y, 5)).toBe(at);
  });

  it('is the same for the same cluster', () => {
    const [one, other] = [new Layout(), new Layout()];
    for (const layout of [one, other]) {
      layout.update(buildTopology(circle(30)));
      settle(layout);
    }
    expect(one.spots.map(({ x, y }) => [x, y])).toEqual(other.spots.map(({ x, y }) => [x, y]));
  });

  it('leaves nodes where they are when another one comes, and starts that beside its neighbour', () => {
    const layout = new Layout();
    const nodes = circle(12);
    layout.update(buildTopology(nodes));
    settle(layout);
    const before = layout.spots.map(({ x, y }) => [x, y]);
    layout.update(buildTopology([...nodes, node('new', { active: ['n5'] })]));
    expect(layout.spots.slice(0, 12).map(({ x, y }) => [x, y])).toEqual(before);
    const [neighbour, fresh] = [layout.spots[5]!, layout.spots[12]!];
    expect(Math.hypot(neighbour.x - fresh.x, neighbour.y - fresh.y)).toBeLessThan(25);
  });

  it('finds the node in the direction of an arrow key', () => {
    const layout = new Layout();
    layout.update(buildTopology([node('middle'), node('right'), node('up'), node('far')]));
    [[0, 0], [50, 5], [0, -60], [200, 0]].forEach(([x, y], at) => Object.assign(layout.spots[at]!, { x, y }));
    expect(layout.towards(0, 1, 0)).toBe(1);
    expect(layout.towards(0, 0, -1)).toBe(2);
    expect(layout.towards(0, -1, 0)).toBeNull();
  });
});

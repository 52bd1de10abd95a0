import { describe, expect, it } from 'vitest';
import { arcPath, arcs, shares } from '../src/model/ring';

const placement = (owners: (number | null)[], members = ['a', 'b', 'c']) => ({ partitions: owners.length, members, owners });

describe('the ring', () => {
  it('joins neighbouring partitions of one owner', () => {
    expect(arcs(placement([0, 0, 1, 1, 1, 0])).map(({ owner, first, count }) => [owner, first, count])).toEqual([[0, 0, 2], [1, 2, 3], [0, 5, 1]]);
  });

  it('goes round once, without gaps', () => {
    const ring = arcs(placement([0, 1, 2, 2, 0, null]));
    expect(ring[0]!.from).toBe(0);
    expect(ring[ring.length - 1]!.to).toBeCloseTo(2 * Math.PI);
    ring.slice(1).forEach((arc, at) => expect(arc.from).toBe(ring[at]!.to));
  });

  it('is empty without partitions', () => expect(arcs(placement([]))).toEqual([]));

  it('tells the share of each member, also of one that owns nothing', () => {
    expect(shares(placement([0, 0, 0, 1])).map(({ member, partitions, share }) => [member, partitions, share]))
      .toEqual([['a', 3, 0.75], ['b', 1, 0.25], ['c', 0, 0]]);
    expect(shares(placement([], ['a']))[0]!.share).toBe(0);
  });

  it('of one owner is drawn as two halves: a path between equal points is nothing', () => {
    const [arc] = arcs(placement([0, 0, 0, 0]));
    expect(arcPath(arc!, 60, 100).match(/M/g)).toHaveLength(2);
  });
});

import { describe, expect, it } from 'vitest';
import { Departed, GONE_MAX, GONE_MS, changes, sameTopology, sentence } from '../src/model/diff';
import { node, state } from './builders';

describe('changes', () => {
  it('tell of nodes that join, die, come back, leave and vanish', () => {
    const before = state([node('a'), node('b'), node('c', { state: 'down' }), node('d'), node('e')]);
    const after = state([node('a'), node('b', { state: 'down' }), node('c'), node('d', { state: 'left' }), node('f')]);
    expect(changes(before, after).map(sentence)).toEqual(['b is down', 'c is back', 'd left', 'f joined', 'e is gone from the list']);
  });

  it('are none between equal states', () => expect(changes(state([node('a')]), state([node('a')]))).toEqual([]));

  it('tell of a new leader', () => {
    const led = (by: string) => state([], { leaders: [{ role: 'r', node: by, pid: '', fence: '', here: false, candidates: 1 }] });
    expect(changes(led('a'), led('b'))).toEqual([{ kind: 'leader', role: 'r', node: 'b' }]);
    expect(changes(led('a'), led(''))).toEqual([]);
  });
});

describe('the graph', () => {
  it('is the same while views and states are', () => {
    expect(sameTopology([node('a', { age_ms: 1 })], [node('a', { age_ms: 900 })])).toBe(true);
    expect(sameTopology([node('a')], [node('a', { state: 'down' })])).toBe(false);
    expect(sameTopology([node('a', { active: ['b'] })], [node('a', { active: ['c'] })])).toBe(false);
    expect(sameTopology([node('a', { passive: null })], [node('a', { passive: [] })])).toBe(false);
  });
});

describe('a node that vanishes from the list', () => {
  it('stays as gone, for a while', () => {
    const departed = new Departed();
    departed.complete([node('a'), node('b', { active: ['a'] })], 0);
    expect(departed.complete([node('a')], 5000)[1]).toMatchObject({ name: 'b', state: 'gone', active: null, connected: false, age_ms: 5000 });
    expect(departed.complete([node('a')], GONE_MS + 1)).toHaveLength(1);
  });

  it('that had left stays as left', () => {
    const departed = new Departed();
    departed.complete([node('a', { state: 'left' })], 0);
    expect(departed.complete([], 1)[0]!.state).toBe('left');
  });

  it('is alive when it is listed again', () => {
    const departed = new Departed();
    departed.complete([node('a')], 0);
    departed.complete([], 1);
    expect(departed.complete([node('a')], 2).map((one) => one.state)).toEqual(['alive']);
  });

  it('is not kept beside more than a bound of others', () => {
    const departed = new Departed();
    departed.complete(Array.from({ length: GONE_MAX + 50 }, (_, at) => node(`n${at}`)), 0);
    expect(departed.complete([], 1)).toHaveLength(GONE_MAX);
    expect(departed.complete([], 2)).toHaveLength(GONE_MAX);
  });
});

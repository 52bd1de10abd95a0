import { describe, expect, it } from 'vitest';
import { ROWS_MAX, TEXT_MAX, decodeLogEntry, decodeMapPage, decodeState } from '../src/model/api';

describe('what a node tells', () => {
  it('is empty where fields are missing or of another type', () => {
    for (const raw of [undefined, null, 7, 'text', [], {}, { nodes: 'all', placement: [1], reminders: null, totals: 3, peers: [null, 4] }]) {
      const state = decodeState(raw);
      expect(state.nodes).toEqual([]);
      expect(state.placement).toEqual({ partitions: 0, members: [], owners: [] });
      expect(state.reminders).toEqual({ pending: 0, next: [] });
      expect(state.peers).toEqual([]);
    }
  });

  it('keeps unknown views apart from empty ones', () => {
    const { nodes } = decodeState({ nodes: [{ name: 'a', active: null }, { name: 'b', active: [] }] });
    expect(nodes.map((one) => one.active)).toEqual([null, []]);
  });

  it('has no owner that is no member', () => {
    const { owners } = decodeState({ placement: { partitions: 9, members: ['a', 'b'], owners: [0, 1, 2, -1, 0.5, null, '0'] } }).placement;
    expect(owners).toEqual([0, 1, null, null, null, null, null]);
  });

  it('is bounded in rows and in length', () => {
    const state = decodeState({ nodes: Array.from({ length: ROWS_MAX + 10 }, (_, at) => ({ name: `${at}` })), services: [{ name: 'x'.repeat(TEXT_MAX + 1) }] });
    expect(state.nodes.length).toBe(ROWS_MAX);
    expect(state.services[0]!.name.length).toBe(TEXT_MAX);
  });

  it('takes numbers that are numbers', () => {
    const { peers } = decodeState({ peers: [{ name: 'a', rtt_ms: Number.NaN, loss: 7, sent_bytes: -1 }] });
    expect(peers[0]).toMatchObject({ rtt_ms: 0, loss: 1, sent_bytes: 0 });
  });

  it('has a severity that is known', () => expect(decodeLogEntry({ severity: 'fatal' }).severity).toBe('info'));

  it('has no time in the text of an event, which has one beside it', () => {
    expect(decodeLogEntry({ text: '2026-11-28T18:12:30.452Z lost lon@x' }).text).toBe('lost lon@x');
    expect(decodeLogEntry({ text: '2026-11-28 lost' }).text).toBe('2026-11-28 lost');
  });

  it('gives the key of the next page back whole', () => {
    const next = 'k'.repeat(TEXT_MAX * 2);
    expect(decodeMapPage({ next }).next).toBe(next);
    expect(decodeMapPage({}).next).toBeNull();
  });
});

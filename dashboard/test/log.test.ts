import { describe, expect, it } from 'vitest';
import type { Severity } from '../src/model/api';
import { EventLog, kindsOf, matches } from '../src/model/log';
import { event } from './builders';

const all: ReadonlySet<Severity> = new Set<Severity>(['debug', 'info', 'warning', 'error']);

describe('the event log', () => {
  it('takes an event once, however often a new connection tells it again', () => {
    const log = new EventLog();
    expect(log.add(event(1))).toBe(true);
    expect(log.add(event(2))).toBe(true);
    expect(log.add(event(1))).toBe(false);
    expect(log.entries).toHaveLength(2);
  });

  it('forgets the oldest beyond its bound', () => {
    const log = new EventLog(3);
    for (let time = 1; time <= 5; ++time) log.add(event(time));
    expect(log.entries.map((one) => one.time)).toEqual([3, 4, 5]);
    expect(log.add(event(5))).toBe(false);
  });

  it('is in the order of time', () => {
    const log = new EventLog();
    for (const time of [5, 2, 9]) log.add(event(time));
    expect(log.entries.map((one) => one.time)).toEqual([2, 5, 9]);
  });

  it('gives another list with each event, so that views see it', () => {
    const log = new EventLog();
    const before = log.entries;
    log.add(event(1));
    expect(log.entries).not.toBe(before);
  });
});

describe('the filter', () => {
  it('looks for text in kind, peer, text and reason, whatever the case', () => {
    const entry = event(1, { kind: 'refused', peer: 'C@Host', text: 'turned away', reason: 'key_mismatch' });
    for (const text of ['', ' refused ', 'c@host', 'AWAY', 'mismatch']) expect(matches(entry, { text, kind: '', severities: all })).toBe(true);
    expect(matches(entry, { text: 'absent', kind: '', severities: all })).toBe(false);
  });

  it('goes by severity and kind', () => {
    expect(matches(event(1), { text: '', kind: 'down', severities: all })).toBe(false);
    expect(matches(event(1), { text: '', kind: 'up', severities: new Set<Severity>(['error']) })).toBe(false);
  });

  it('offers the kinds that there are', () => expect(kindsOf([event(1, { kind: 'up' }), event(2, { kind: 'down' }), event(3, { kind: 'up' })])).toEqual(['down', 'up']));
});

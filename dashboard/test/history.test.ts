import { describe, expect, it } from 'vitest';
import { History, SAMPLES_MAX } from '../src/model/history';
import { peer } from './builders';

describe('the history of peers', () => {
  it('turns counters into rates', () => {
    const history = new History();
    history.add(1000, [peer('a', { sent_bytes: 100, received_bytes: 10 })]);
    history.add(3000, [peer('a', { sent_bytes: 500, received_bytes: 20 })]);
    expect(history.times).toEqual([1, 3]);
    expect(history.series('a')).toMatchObject({ sent: [null, 200], received: [null, 5] });
  });

  it('tells the loss since the sample before, not of all times', () => {
    const history = new History();
    history.add(1000, [peer('a', { sent_bytes: 1000, loss: 0.5 })]);
    history.add(2000, [peer('a', { sent_bytes: 2000, loss: 0.25 })]);
    history.add(3000, [peer('a', { sent_bytes: 3000, loss: 0.5 })]);
    expect(history.series('a')!.loss).toEqual([null, 0, 1]);
  });

  it('has a gap where a peer was away or its connection is a new one', () => {
    const history = new History();
    history.add(1000, [peer('a', { sent_bytes: 900 })]);
    history.add(2000, []);
    history.add(3000, [peer('a', { sent_bytes: 50 })]);
    history.add(4000, [peer('a', { sent_bytes: 10 })]);
    expect(history.series('a')).toMatchObject({ rtt: [1, null, 1, 1], sent: [null, null, null, null] });
  });

  it('starts a peer that comes later at the same times as the others', () => {
    const history = new History();
    history.add(1000, [peer('a')]);
    history.add(2000, [peer('a'), peer('b', { rtt_ms: 7 })]);
    expect(history.series('b')!.rtt).toEqual([null, 7]);
  });

  it('leaves out a second look at the same moment', () => {
    const history = new History();
    history.add(1000, [peer('a')]);
    history.add(1000, [peer('a')]);
    history.add(1003, [peer('a')]);
    expect(history.times).toEqual([1]);
  });

  it('is bounded, and forgets peers that are long gone', () => {
    const history = new History();
    history.add(0, [peer('gone')]);
    for (let second = 1; second <= SAMPLES_MAX + 5; ++second) history.add(second * 1000, [peer('a')]);
    expect(history.times).toHaveLength(SAMPLES_MAX);
    expect(history.series('a')!.rtt).toHaveLength(SAMPLES_MAX);
    expect(history.series('gone')).toBeUndefined();
  });
});

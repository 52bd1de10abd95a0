// What the connections to the peers were like in the last minutes, for charts.
import type { Peer } from './api';

export const SAMPLES_MAX = 600;
export const PEERS_MAX = 256;
/** A node tells its state once a second. */
export const SPACING_SECONDS_MIN = 0.5;

export type Sample = number | null;
export interface Series {
  rtt: Sample[];
  /** Of what was sent since the sample before, 0 to 1. */
  loss: Sample[];
  /** Bytes a second. */
  sent: Sample[];
  received: Sample[];
}
export type Measure = keyof Series;

interface Track { series: Series; last: Peer | null; at: number }

export class History {
  /** Seconds since 1970, one for each sample of every series. */
  times: number[] = [];
  private readonly tracks = new Map<string, Track>();

  series(name: string): Series | undefined { return this.tracks.get(name)?.series; }

  /** `time` in ms. One too soon after the last is left out: a rate over a few milliseconds says nothing. */
  add(time: number, peers: Peer[]): void {
    const last = this.times[this.times.length - 1];
    if (last !== undefined && time / 1000 < last + SPACING_SECONDS_MIN) return;
    this.times.push(time / 1000);
    const present = new Map(peers.slice(0, PEERS_MAX).map((one) => [one.name, one]));
    for (const name of present.keys()) {
      if (!this.tracks.has(name)) this.tracks.set(name, this.track());
    }
    for (const [name, track] of this.tracks) this.push(track, present.get(name), time);
    const surplus = this.times.length - SAMPLES_MAX;
    if (surplus > 0) this.trim(surplus);
  }

  clear(): void {
    this.times = [];
    this.tracks.clear();
  }

  private track(): Track {
    const empty = (): Sample[] => new Array<Sample>(this.times.length - 1).fill(null);
    return { series: { rtt: empty(), loss: empty(), sent: empty(), received: empty() }, last: null, at: 0 };
  }

  private push(track: Track, peer: Peer | undefined, time: number): void {
    const { series, last } = track;
    const seconds = (time - track.at) / 1000;
    // A counter that went back is that of a new connection.
    const goesOn = peer && last && peer.sent_bytes >= last.sent_bytes && peer.received_bytes >= last.received_bytes;
    const sent = goesOn ? peer.sent_bytes - last.sent_bytes : null;
    const lost = goesOn ? peer.loss * peer.sent_bytes - last.loss * last.sent_bytes : 0;
    series.rtt.push(peer ? peer.rtt_ms : null);
    series.loss.push(sent === null ? null : sent === 0 ? 0 : Math.min(1, Math.max(0, lost / sent)));
    series.sent.push(sent === null ? null : sent / seconds);
    series.received.push(goesOn ? (peer.received_bytes - last.received_bytes) / seconds : null);
    track.last = peer ?? null;
    track.at = time;
  }

  private trim(surplus: number): void {
    this.times.splice(0, surplus);
    for (const [name, { series, last }] of this.tracks) {
      for (const values of [series.rtt, series.loss, series.sent, series.received]) values.splice(0, surplus);
      if (!last && series.rtt.every((value) => value === null)) this.tracks.delete(name);
    }
  }
}

import type { JSX } from 'preact';
import { useContext, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import type { AlignedData } from 'uplot';
import type { Peer, State } from '../model/api';
import { bytes, clock, integer, milliseconds, percent } from '../model/format';
import type { History, Measure, Sample } from '../model/history';
import { StoreContext } from './hooks';
import { Card, Empty, Search, Table } from './parts';
import type { Column } from './parts';
import { NodeLink } from './tables';

/** Lines that can still be told apart. */
const LINES_MAX = 8;
const LINES_AT_FIRST = 5;

interface ChartProps {
  title: string;
  measures: Measure[];
  names: string[];
  colors: Map<string, string>;
  history: History;
  /** Of the state: a new one is a new sample. */
  time: number;
  dark: boolean;
  format: (value: number) => string;
}

function options(props: ChartProps, width: number, style: CSSStyleDeclaration): uPlot.Options {
  const color = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const font = `11px ${style.fontFamily}`;
  const axis: uPlot.Axis = { stroke: color('muted'), font, grid: { stroke: color('grid'), width: 1 }, ticks: { show: false } };
  return {
    width, height: 168, padding: [10, 14, 0, 0], legend: { show: false }, cursor: { y: false, points: { size: 6 } },
    scales: { x: { time: true }, y: { range: (_, __, high) => [0, high > 0 ? high * 1.15 : 1] } },
    axes: [{ ...axis, space: 74, size: 28, values: (_, splits) => splits.map((time) => clock(time * 1000)) },
      { ...axis, size: 66, space: 26, values: (_, splits) => splits.map((value) => props.format(value)) }],
    series: [{}, ...props.measures.flatMap((measure) => props.names.map((name): uPlot.Series => ({
      label: name, stroke: color(props.colors.get(name) ?? 'muted'), width: 1.6, spanGaps: true,
      dash: measure === 'received' ? [4, 3] : undefined, points: { show: false },
    })))],
  };
}

function Chart(props: ChartProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const data = (): AlignedData => [
    props.history.times,
    ...props.measures.flatMap((measure) => props.names.map((name): Sample[] =>
      props.history.series(name)?.[measure] ?? props.history.times.map(() => null))),
  ] as AlignedData;
  useEffect(() => {
    const element = box.current!;
    // The theme is an attribute of the document that is set in the same round of effects.
    const frame = requestAnimationFrame(() => {
      plot.current = new uPlot(options(props, Math.max(200, element.clientWidth), getComputedStyle(element)), data(), element);
    });
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: Math.max(200, element.clientWidth), height: 168 }));
    observer.observe(element);
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [props.names.join('\n'), props.dark]);
  useEffect(() => { plot.current?.setData(data()); }, [props.time]);
  const now = props.names.map((name) => {
    const values = props.measures.map((measure) => props.history.series(name)?.[measure].slice(-1)[0] ?? null);
    return `${name} ${values.map((value) => (value === null ? 'unknown' : props.format(value))).join(' and ')}`;
  });
  return <Card title={props.title} class="chart"><div ref={box} role="img" aria-label={`${props.title}, at present: ${now.join(', ')}`} /></Card>;
}

const traffic = (peer: Peer): number => peer.sent_bytes + peer.received_bytes;

export function Peers({ state, dark }: { state: State; dark: boolean }): JSX.Element {
  const store = useContext(StoreContext);
  const [filter, setFilter] = useState('');
  const { peers } = state;
  const [chosen, setChosen] = useState<string[] | null>(null);
  const atFirst = useRef<string[]>([]);
  // The first choice stays until its peers are gone: lines that change places by themselves cannot be read.
  if (!atFirst.current.some((name) => peers.some((peer) => peer.name === name))) {
    atFirst.current = [...peers].sort((one, other) => traffic(other) - traffic(one)).slice(0, LINES_AT_FIRST).map((peer) => peer.name).sort();
  }
  const names = chosen ?? atFirst.current;
  const slots = useRef(new Map<string, string>());
  for (const name of [...slots.current.keys()]) if (!names.includes(name)) slots.current.delete(name);
  for (const name of names) {
    if (slots.current.has(name)) continue;
    const used = new Set(slots.current.values());
    const free = Array.from({ length: LINES_MAX }, (_, at) => `line-${at + 1}`).find((slot) => !used.has(slot));
    slots.current.set(name, free ?? 'muted');
  }
  const rows = useMemo(() => peers.filter((peer) => peer.name.toLowerCase().includes(filter.trim().toLowerCase())), [peers, filter]);
  const toggle = (name: string): void => setChosen(names.includes(name) ? names.filter((one) => one !== name) : [...names, name].slice(-LINES_MAX));
  const { history } = store;
  const rate = (peer: Peer, measure: 'sent' | 'received'): number => history.series(peer.name)?.[measure].slice(-1)[0] ?? 0;
  const columns: Column<Peer>[] = [
    { title: 'Chart', cell: (peer) => (
      <label class={`pick-line ${slots.current.get(peer.name) ?? ''}`}><input type="checkbox" checked={names.includes(peer.name)}
        aria-label={`Show ${peer.name} in the charts`} onChange={() => toggle(peer.name)} /><span class="line" aria-hidden="true" /></label>) },
    { title: 'Peer', sort: (peer) => peer.name, wide: true, cell: (peer) => <><NodeLink name={peer.name} /><br /><code class="muted">{peer.address}</code></> },
    { title: 'Round trip', number: true, sort: (peer) => peer.rtt_ms, cell: (peer) => milliseconds(peer.rtt_ms) },
    { title: 'Least', number: true, sort: (peer) => peer.rtt_min_ms, cell: (peer) => milliseconds(peer.rtt_min_ms) },
    { title: 'Loss', number: true, sort: (peer) => peer.loss, cell: (peer) => <span class={peer.loss > 0.02 ? 'warn' : ''}>{percent(peer.loss)}</span> },
    { title: 'Sends', number: true, sort: (peer) => rate(peer, 'sent'), cell: (peer) => `${bytes(rate(peer, 'sent'))}/s` },
    { title: 'Receives', number: true, sort: (peer) => rate(peer, 'received'), cell: (peer) => `${bytes(rate(peer, 'received'))}/s` },
    { title: 'Sent', number: true, sort: (peer) => peer.sent_bytes, cell: (peer) => bytes(peer.sent_bytes) },
    { title: 'Received', number: true, sort: (peer) => peer.received_bytes, cell: (peer) => bytes(peer.received_bytes) },
    { title: 'In flight', number: true, sort: (peer) => peer.in_flight, cell: (peer) => bytes(peer.in_flight) },
    { title: 'Queued', number: true, sort: (peer) => peer.queued_bytes, cell: (peer) => bytes(peer.queued_bytes) },
    { title: 'Streams', number: true, sort: (peer) => peer.streams, cell: (peer) => integer(peer.streams) },
  ];
  if (peers.length === 0) {
    return <Card title="Peers"><Empty what="No peer is connected">Start a node that joins this one:{' '}
      <code>barrel_p2p node --name NAME@HOST --join {state.node.name}</code></Empty></Card>;
  }
  const chart = { names, colors: slots.current, history, time: state.time, dark };
  return (
    <>
      <div class="charts">
        <Chart {...chart} title="Round trip" measures={['rtt']} format={milliseconds} />
        <Chart {...chart} title="Loss" measures={['loss']} format={percent} />
        <Chart {...chart} title="Throughput: sent, received dashed" measures={['sent', 'received']} format={(value) => `${bytes(value)}/s`} />
      </div>
      <Card title="Peers" note={`${integer(rows.length)} of ${integer(peers.length)}; up to ${LINES_MAX} in the charts`}
        tools={<Search label="Filter by name" value={filter} onInput={setFilter} />}>
        <Table label="Peers" rows={rows} columns={columns} keyOf={(peer) => peer.name} initial={1}
          empty={<Empty what="No peer matches">Clear the filter to see all {integer(peers.length)} peers.</Empty>} />
      </Card>
    </>
  );
}

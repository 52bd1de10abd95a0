import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { LogEntry, Severity } from '../model/api';
import { integer, moment } from '../model/format';
import { kindsOf, matches } from '../model/log';
import { useStore } from './hooks';
import { Card, Empty, Search, Table } from './parts';
import type { Column } from './parts';
import { NodeLink } from './tables';

const severities: Severity[] = ['error', 'warning', 'info', 'debug'];

const columns: Column<LogEntry>[] = [
  { title: 'Time', sort: (entry) => entry.time, cell: (entry) => <time>{moment(entry.time)}</time> },
  { title: 'Severity', cell: (entry) => <span class={`severity severity-${entry.severity}`}>{entry.severity}</span> },
  { title: 'Kind', sort: (entry) => entry.kind, cell: (entry) => <code>{entry.kind}</code> },
  { title: 'Peer', sort: (entry) => entry.peer, cell: (entry) => (entry.peer === '' ? '' : <NodeLink name={entry.peer} />) },
  { title: 'What happened', wide: true, cell: (entry) => <>{entry.text}</> },
  { title: 'Reason', cell: (entry) => <span class="muted">{entry.reason}</span> },
];

export function Events(): JSX.Element {
  const [{ log }] = useStore();
  const [text, setText] = useState('');
  const [kind, setKind] = useState('');
  const [shown, setShown] = useState<ReadonlySet<Severity>>(new Set(severities));
  const [held, setHeld] = useState<LogEntry[] | null>(null);
  const entries = held ?? log;
  const kinds = useMemo(() => kindsOf(log), [log]);
  const rows = useMemo(() => entries.filter((entry) => matches(entry, { text, kind, severities: shown })).reverse(), [entries, text, kind, shown]);
  const places = useMemo(() => new Map(entries.map((entry, at) => [entry, at])), [entries]);
  const toggle = (severity: Severity): void => {
    const next = new Set(shown);
    if (!next.delete(severity)) next.add(severity);
    setShown(next);
  };
  return (
    <Card title="Events" note={`${integer(rows.length)} of ${integer(entries.length)}`} tools={<>
      <div class="toggles" role="group" aria-label="Severities">{severities.map((severity) => (
        <button key={severity} type="button" aria-pressed={shown.has(severity)} onClick={() => toggle(severity)}>{severity}</button>))}</div>
      <select aria-label="Kind of event" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
        <option value="">All kinds</option>{kinds.map((one) => <option key={one} value={one}>{one}</option>)}
      </select>
      <Search label="Filter events" value={text} onInput={setText} />
      <button type="button" aria-pressed={held !== null} onClick={() => setHeld(held ? null : log)}>
        {held ? `Go on (${integer(log.length - held.length)} new)` : 'Hold'}</button></>}>
      <Table label="Events" rows={rows} columns={columns} initial={-1} keyOf={(entry) => String(places.get(entry))}
        rowClass={(entry) => `row-${entry.severity}`}
        empty={log.length === 0
          ? <Empty what="Nothing happened yet">The node records why peers were dialled, refused, lost or dropped; it appears here at once.</Empty>
          : <Empty what="No event matches">Clear the filter, or switch more severities on.</Empty>} />
    </Card>
  );
}

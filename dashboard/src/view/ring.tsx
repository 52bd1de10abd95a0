import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { State } from '../model/api';
import { integer, percent } from '../model/format';
import { arcPath, arcs, shares } from '../model/ring';
import type { Share } from '../model/ring';
import { useStore } from './hooks';
import { Card, Empty, Search, Table } from './parts';
import type { Column } from './parts';
import { NodeLink } from './tables';

/** Neighbours in the list get colours that are far apart. */
const hueOf = (owner: number): number => (owner * 137.508 + 210) % 360;
const colorOf = (owner: number | null, dark: boolean): string =>
  owner === null ? 'var(--border)' : `hsl(${hueOf(owner).toFixed(1)} ${dark ? 36 : 40}% ${dark ? 56 : 55}%)`;

export function Ring({ state, dark }: { state: State; dark: boolean }): JSX.Element {
  const [{ nodes }] = useStore();
  const [filter, setFilter] = useState('');
  const [pinned, setPinned] = useState<number | null>(null);
  const [hovered, setHovered] = useState<number | null>(null);
  const { placement } = state;
  const ring = useMemo(() => arcs(placement), [placement]);
  const all = useMemo(() => shares(placement), [placement]);
  const rows = useMemo(() => all.filter((one) => one.member.toLowerCase().includes(filter.trim().toLowerCase())), [all, filter]);
  const marked = hovered ?? pinned;
  const kinds = new Map(nodes.map((node) => [node.name, node.state]));
  const most = Math.max(1, ...all.map((one) => one.partitions));
  const columns: Column<Share>[] = [
    { title: 'Owner', sort: (one) => one.member, wide: true, cell: (one) => (
      <><svg class="swatch" viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" rx="2" fill={colorOf(one.index, dark)} /></svg>
        <NodeLink name={one.member} />{one.member === state.node.name && <span class="tag">this node</span>}
        {kinds.get(one.member) !== undefined && kinds.get(one.member) !== 'alive' && <span class="tag tag-bad">{kinds.get(one.member)}</span>}</>) },
    { title: 'Partitions', number: true, sort: (one) => one.partitions, cell: (one) => integer(one.partitions) },
    { title: 'Share', number: true, sort: (one) => one.partitions, cell: (one) => (
      <span class="share">{percent(one.share)}<meter min={0} max={most} value={one.partitions} aria-hidden="true" /></span>) },
    { title: 'Show', cell: (one) => <button type="button" aria-pressed={pinned === one.index}
      onFocus={() => setHovered(one.index)} onBlur={() => setHovered(null)}
      onMouseEnter={() => setHovered(one.index)} onMouseLeave={() => setHovered(null)}
      onClick={() => setPinned(pinned === one.index ? null : one.index)}>on the ring</button> },
  ];
  if (placement.partitions === 0) {
    return <Card title="Ring"><Empty what="No ring yet">The node shares the key space out among the members as soon as it knows them.</Empty></Card>;
  }
  const owner = marked === null ? undefined : all[marked];
  return (
    <div class="columns columns-ring">
      <Card title="Ring" note={`${integer(placement.partitions)} partitions, ${integer(placement.members.length)} owners`}>
        <svg class="ring" viewBox="-110 -110 220 220" role="img"
          aria-label={`Ring of ${placement.partitions} partitions among ${placement.members.length} owners; the table beside it has the shares.`}>
          {ring.map((arc) => (
            <path key={arc.first} d={arcPath(arc, 68, 102)} fill={colorOf(arc.owner, dark)}
              class={marked !== null && arc.owner !== marked ? 'dim' : ''}
              onMouseEnter={() => setHovered(arc.owner)} onMouseLeave={() => setHovered(null)} onClick={() => setPinned(arc.owner)}>
              <title>{`${arc.owner === null ? 'nobody' : placement.members[arc.owner]}: partitions ${arc.first} to ${arc.first + arc.count - 1}`}</title>
            </path>
          ))}
          <path class="ring-zero" d="M0 -104 V-109" />
          <text class="ring-big" y={2}>{integer(owner ? owner.partitions : placement.partitions)}</text>
          <text class="ring-small" y={14}>{owner ? percent(owner.share) : 'partitions'}</text>
        </svg>
        <p class="ring-owner">{owner ? owner.member : 'Point at the ring or at an owner.'}</p>
      </Card>
      <Card title="Owners" note={`${integer(rows.length)} of ${integer(all.length)}`}
        tools={<Search label="Filter by name" value={filter} onInput={setFilter} />}>
        <Table label="Owners" rows={rows} columns={columns} keyOf={(one) => one.member}
          empty={<Empty what="No owner matches">Clear the filter to see all owners.</Empty>} />
      </Card>
    </div>
  );
}
